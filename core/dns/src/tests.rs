//! The resolver against scripted servers that lie, are silent, truncate and answer what was not asked.
