//! The content of a queued message as it goes over the wire.

use crate::{disk::File, house::House, recover::decode};
use crc32fast::Hasher;
use queue::{Record, Traits};
use smtp::client::Form;
use std::io;

/// Bytes that are read of a file at a time.
const CHUNK: usize = 32 << 10;

/// Bytes of a header that are looked at to know what it is written in.
const HEAD_MAX: usize = 1 << 20;

/// The content of a queued message, from its beginning.
pub(super) struct Content {
    source: Source,
    at: u64,
    size: u64,
    /// The last byte was a carriage return.
    after_cr: bool,
    binary: bool,
    /// Encodes it anew, with what is ready; none when it has ended.
    recoder: Option<(Option<mime::Recoder>, Vec<u8>)>,
    chunk: Vec<u8>,
}

/// Where it is.
enum Source {
    /// In the record, from this byte on.
    Record(usize),
    /// In a file of its own.
    File(Box<dyn File>),
}

impl House {
    /// Whether the file of a large message is still what was written. What is in a record was looked at when it was read.
    ///
    /// # Errors
    /// `InvalidData` if not; or it cannot be read.
    pub(in crate::outgoing) fn is_as_written(&self, id: u64, content: &queue::Content<'_>) -> io::Result<()> {
        let queue::Content::Large { size, sum, .. } = *content else { return Ok(()) };
        let file = self.depot().open_large(self.spool(), id)?;
        let Some(sum) = sum else { return Ok(()) };
        let (mut hasher, mut at, mut chunk) = (Hasher::new(), 0, vec![0; CHUNK]);
        while at < size {
            match file.read_at(&mut chunk, at)? {
                0 => break,
                n => {
                    hasher.update(&chunk[..n]);
                    at += n as u64;
                }
            }
        }
        match hasher.finalize() == sum {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "the file of a large message is not what was written")),
        }
    }
}

impl Content {
    /// Opens the content of a message and says how many octets it has on the wire.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was written: `InvalidData`; or not be encoded anew: `Unsupported`; all before anything was sent.
    pub(super) fn open(house: &House, id: u64, record: &[u8], form: Form) -> io::Result<(Content, u64)> {
        let Record::Accept(accept) = decode(record)? else { return Err(io::ErrorKind::InvalidData.into()) };
        house.is_as_written(id, &accept.content)?;
        let (mut content, wire) = Content::at_start(house, id, record, form)?;
        if content.recoder.is_none() {
            return Ok((content, wire));
        }
        let mut buf = vec![0; CHUNK];
        let mut wire = 0;
        loop {
            match content.read(record, &mut buf)? {
                0 => return Ok((Content::at_start(house, id, record, form)?.0, wire)),
                n => wire += n as u64,
            }
        }
    }

    fn at_start(house: &House, id: u64, record: &[u8], form: Form) -> io::Result<(Content, u64)> {
        let Record::Accept(accept) = decode(record)? else { return Err(io::ErrorKind::InvalidData.into()) };
        let (source, size) = match accept.content {
            queue::Content::Inline(bytes) => (Source::Record(record.len() - bytes.len()), bytes.len() as u64),
            queue::Content::Large { size, .. } => (Source::File(house.depot().open_large(house.spool(), id)?), size),
        };
        let binary = accept.traits.has(Traits::BINARY);
        let source_form = if binary { mime::Source::Octets } else { mime::Source::Lines };
        let target = match form {
            Form::AsIs => None,
            Form::SevenBit => Some(mime::Target::SevenBit),
            Form::Header => Some(mime::Target::Header),
        };
        let recoder = target.map(|target| {
            let recoder = mime::Recoder::new(source_form, target);
            // One that is none was refused when the configuration was read.
            let charset = mime::Charset::named(&house.config().outgoing.charset);
            (Some(charset.into_iter().fold(recoder, mime::Recoder::guessing)), Vec::new())
        });
        let mut content = Content { source, at: 0, size, after_cr: false, binary, recoder, chunk: Vec::new() };
        content.skip_trace(record)?;
        Ok((content, accept.wire_size))
    }

    /// Whether the header of a message is UTF-8, as far as it is looked at.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn header_is_utf8(house: &House, id: u64, record: &[u8]) -> io::Result<bool> {
        let (mut content, _) = Content::at_start(house, id, record, Form::AsIs)?;
        let (mut head, mut chunk) = (Vec::new(), vec![0; CHUNK]);
        while head.len() < HEAD_MAX {
            let n = content.bytes(record, &mut chunk)?;
            head.extend_from_slice(&chunk[..n]);
            let ends = [memchr::memmem::find(&head, b"\n\n"), memchr::memmem::find(&head, b"\n\r\n")];
            if let Some(end) = ends.into_iter().flatten().min() {
                head.truncate(end);
                break;
            }
            if n == 0 {
                break;
            }
        }
        // What is cut in two at the end was not looked at.
        Ok(std::str::from_utf8(&head).map_or_else(|error| error.error_len().is_none(), |_| true))
    }

    /// The first line says where to return it to, which every host tells in its own way. `Delivered-To:` stays where mail is sent on: it ends loops.
    fn skip_trace(&mut self, record: &[u8]) -> io::Result<()> {
        let mut head = [0; 2048];
        let n = self.bytes(record, &mut head)?;
        let line = memchr::memchr(b'\n', &head[..n]).filter(|_| head.starts_with(b"Return-Path: "));
        self.at = line.map_or(0, |end| end as u64 + 1);
        Ok(())
    }

    /// Bytes as they are stored, from where it stands; none at the end.
    fn bytes(&mut self, record: &[u8], buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(buf.len());
        if left == 0 {
            return Ok(0);
        }
        let n = match &self.source {
            Source::Record(from) => {
                let at = from + usize::try_from(self.at).map_err(|_| io::ErrorKind::InvalidData)?;
                buf[..left].copy_from_slice(record.get(at..at + left).ok_or(io::ErrorKind::InvalidData)?);
                left
            }
            Source::File(file) => match file.read_at(&mut buf[..left], self.at)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => n,
            },
        };
        self.at += n as u64;
        Ok(n)
    }

    /// Fills a buffer with octets of the wire; none at the end.
    pub(super) fn read(&mut self, record: &[u8], buf: &mut [u8]) -> io::Result<usize> {
        if self.recoder.is_some() {
            return self.recode(record, buf);
        }
        if self.binary {
            return self.bytes(record, buf);
        }
        // At worst every byte is a line feed and becomes two.
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.resize(CHUNK, 0);
        let want = (buf.len() / 2).min(CHUNK);
        let n = self.bytes(record, &mut chunk[..want])?;
        let mut out = 0;
        let mut put = |bytes: &[u8]| {
            buf[out..out + bytes.len()].copy_from_slice(bytes);
            out += bytes.len();
        };
        let mut rest = &chunk[..n];
        while let Some(lf) = memchr::memchr(b'\n', rest) {
            put(&rest[..lf]);
            let cr = if lf > 0 { rest[lf - 1] == b'\r' } else { self.after_cr };
            put(if cr { b"\n" } else { b"\r\n" });
            self.after_cr = false;
            rest = &rest[lf + 1..];
        }
        put(rest);
        if n > 0 {
            // Whether the last byte was a carriage return that a line feed may follow.
            self.after_cr = chunk[n - 1] == b'\r';
        }
        self.chunk = chunk;
        Ok(out)
    }

    fn recode(&mut self, record: &[u8], buf: &mut [u8]) -> io::Result<usize> {
        let stuck = |obstacle| io::Error::new(io::ErrorKind::Unsupported, format!("it cannot be encoded anew: {obstacle:?}"));
        loop {
            let (recoder, ready) = self.recoder.as_mut().expect("it is encoded anew");
            if !ready.is_empty() {
                let n = ready.len().min(buf.len());
                buf[..n].copy_from_slice(&ready[..n]);
                ready.drain(..n);
                return Ok(n);
            }
            if recoder.is_none() {
                return Ok(0);
            }
            let mut chunk = std::mem::take(&mut self.chunk);
            chunk.resize(CHUNK, 0);
            let n = self.bytes(record, &mut chunk)?;
            let (recoder, ready) = self.recoder.as_mut().expect("it is encoded anew");
            match recoder {
                Some(recoder) if n > 0 => recoder.feed(&chunk[..n], ready).map_err(stuck)?,
                recoder => {
                    if let Some(recoder) = recoder.take() {
                        recoder.finish(ready).map_err(stuck)?;
                    }
                }
            }
            self.chunk = chunk;
        }
    }
}
