//! What is read from the disk: records of the spool log, the index and its neighbours, names of files and folders.

use mail::MailboxName;
use maildir::{Bounds, FileName, Index, Keywords, Listing, Marks, Place, Register, Scope, Sizes, sealed::Seal};
use queue::{
    Record, Replay,
    frame::{FRAME_HEAD, FrameHead, SEGMENT_HEAD, SegmentHead},
};

/// A record of the spool log, and the heads around it.
pub fn queue_record(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        if !matches!(record, Record::Unknown { .. }) {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Ok(record), "a record that was read can be written and read");
        }
        let mut replay = Replay::new();
        replay.add(1, &record);
        replay.add(2, &record);
        for place in replay.places() {
            assert_eq!(replay.wanted(place).filter(|(base, _)| replay.unwanted(place).any(|u| u == *base)).count(), 0, "wanted and gone");
        }
    }
    if let Some(head) = data.first_chunk::<SEGMENT_HEAD>()
        && let Some(read) = SegmentHead::decode(head)
    {
        assert_eq!(SegmentHead::decode(&read.encode()), Some(read));
    }
    if let Some(head) = data.first_chunk::<FRAME_HEAD>()
        && let Some(read) = FrameHead::decode(head, 0, 0)
    {
        assert_eq!(FrameHead::decode(&read.encode(0), 0, 0), Some(read));
    }
}

/// An index file, as it is and with checksums put right: runs of a kind, a length and that many bytes.
pub fn maildir_index(data: &[u8]) {
    check_index(data);
    let mut file = Vec::new();
    let mut rest = data;
    while let [kind, len, tail @ ..] = rest {
        let (payload, after) = tail.split_at(usize::from(*len).min(tail.len()));
        let mut body = (payload.len() as u16).to_le_bytes().to_vec();
        body.push(*kind);
        body.extend_from_slice(payload);
        file.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        file.extend_from_slice(&body);
        rest = after;
    }
    check_index(&file);
}

fn check_index(file: &[u8]) {
    let (mut index, sound) = Index::load(file, 1);
    assert!(sound <= file.len());
    assert!(index.entries().is_sorted_by(|a, b| a.uid < b.uid), "UIDs ascend");
    assert!(index.entries().iter().all(|e| e.uid < index.uid_next), "the next UID is none that was used");
    if sound == 0 {
        return;
    }
    let (mut again, whole) = Index::load(&index.snapshot(), 2);
    assert_eq!(whole, index.snapshot().len(), "a snapshot is sound");
    let numbers = |i: &Index| (i.uid_validity, i.uid_next, i.mod_seq, i.recent_from, i.dirs);
    assert_eq!(numbers(&index), numbers(&again));
    let files = |i: &Index| i.entries().iter().map(|e| (e.uid, i.path(e), e.marks, e.facts)).collect::<Vec<_>>();
    assert_eq!(files(&index), files(&again));
    for at in 0..index.entries().len() {
        let base = index.base(&index.entries()[at]).to_vec();
        assert!(index.find(&base).is_some() && again.find(&base).is_some(), "what is there is found");
    }
}

/// The texts beside an index.
pub fn maildir_texts(data: &[u8]) {
    let register = Register::parse(data);
    assert_eq!(Register::load(register.print().as_bytes()), (register, Seal::Whole));
    let keywords = Keywords::load(data).0;
    assert_eq!(Keywords::load(keywords.print().as_bytes()).0.print(), keywords.print());
    if let Some(bounds) = Bounds::parse(data) {
        assert_eq!(Bounds::parse(bounds.print().as_bytes()), Some(bounds));
    }
    if let Some(name) = maildir::mailbox_name(data) {
        assert_eq!(maildir::folder_name(&name).as_deref().map(str::as_bytes), Some(data), "one mailbox, one folder");
    }
    if let Ok(name) = MailboxName::new(&String::from_utf8_lossy(data))
        && let Some(folder) = maildir::folder_name(&name)
    {
        assert!(!folder.contains('/'), "a folder is one level");
        assert!(name.is_inbox() || maildir::mailbox_name(folder.as_bytes()) == Some(name), "a folder leads back to its mailbox");
    }
}

/// File names, a line each, as one listing of a mailbox.
pub fn maildir_names(data: &[u8]) {
    let mut listing = Listing::default();
    for line in data.split(|b| *b == b'\n') {
        if let Some(name) = FileName::split(line) {
            let marks = Marks::parse(name.info);
            let mut info = Vec::new();
            marks.print(name.info, &mut info);
            assert_eq!(Marks::parse(&info), marks, "flags survive a rename");
            let mut twice = Vec::new();
            marks.print(&info, &mut twice);
            assert_eq!(info, twice, "the same flags give the same name");
            let _ = Sizes::parse(name.base);
        }
        listing.push(line, if line.len() % 2 == 0 { Place::New } else { Place::Cur });
    }
    for scope in [Scope::New, Scope::Both] {
        let plan = maildir::reconcile(&mut Index::new(1), &listing, scope, &|base| base.len() == 3);
        let mut files: Vec<usize> =
            plan.adds.iter().chain(&plan.doomed).copied().chain(plan.doubles.iter().map(|(_, other)| *other)).collect();
        files.sort_unstable();
        assert!(files.iter().copied().eq(0..listing.len()), "each file is new, doomed or another's double");
    }
}
