"""Where inputs come from: files, folders, patterns, lists, tables and object stores; see ``finding``."""
