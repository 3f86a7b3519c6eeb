"""Search of the served settings for the machine at hand."""
