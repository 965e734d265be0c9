//! Every case of RFC 5321 §5 as a zone and a verdict.
