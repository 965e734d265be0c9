//! Sessions driven by a scripted host.
