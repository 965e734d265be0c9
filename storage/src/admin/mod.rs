//! What the command line does, other than serve.
