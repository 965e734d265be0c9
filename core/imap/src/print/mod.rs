//! What a message is made of, as FETCH prints it: strings, ENVELOPE, BODY and BODYSTRUCTURE, and which bytes a section is.

mod body;
mod envelope;
mod section;
mod string;

pub use body::{body, body_structure};
pub use envelope::envelope;
pub use section::{What, resolve};
pub(crate) use string::octets;
pub use string::{nstring, string};
