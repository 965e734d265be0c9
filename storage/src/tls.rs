//! Certificates: PEM files to a TLS configuration, by server name, read again on reload.
