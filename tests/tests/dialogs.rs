//! Plays the dialogs of tests/dialogs, one test a folder.

use hikyaku_tests::dialog::{Client, Imap, Pop3, Smtp, play_folder};

#[test]
fn smtp() {
    play_folder::<Smtp>("smtp");
}

#[test]
fn submission() {
    play_folder::<Smtp>("submission");
}

#[test]
fn lmtp() {
    play_folder::<Smtp>("lmtp");
}

#[test]
fn pop3() {
    play_folder::<Pop3>("pop3");
}

#[test]
fn imap() {
    play_folder::<Imap>("imap");
}

#[test]
fn client() {
    play_folder::<Client>("client");
}
