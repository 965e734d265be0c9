//! Whose a Maildir must be: whoever else may write there could have us deliver, serve and remove what they like.

use crate::disk::Stat;
use std::path::Path;

/// What speaks against using a directory of a Maildir as `uid`, in words for an operator.
pub(crate) fn objection(path: &Path, stat: &Stat, uid: u32) -> Option<String> {
    let path = path.display();
    if !stat.is_dir {
        return Some(format!("{path} is a link, or no directory; only the way to a Maildir may have links"));
    }
    if stat.uid != uid {
        return Some(format!("{path} belongs to user {}, and must belong to the server's user ({uid}): chown it", stat.uid));
    }
    stat.is_shared.then(|| format!("{path} may be written by its group or by everybody: chmod go-w it"))
}
