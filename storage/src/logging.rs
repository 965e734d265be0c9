//! Log lines: one an event, as `key=value` or JSON.
