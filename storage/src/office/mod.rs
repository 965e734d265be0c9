//! Whoever answers the questions of the sessions.
