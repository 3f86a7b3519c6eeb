"""From files to rows: our path against the papers', and where the time goes."""
