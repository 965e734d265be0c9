//! Accounts: who may log in, what they own, where their mail is.
