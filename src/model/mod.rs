//! The vocabulary: what a memory is, what may be stored, and how two versions of it become one.
//! Everything here is a value or a pure function of values; nothing reads a clock, a file or a socket.

pub mod carried;
pub mod digest;
pub mod draft;
pub mod filter;
pub mod id;
pub mod memory;
pub mod refusal;
pub mod seen;
pub mod shown;
pub mod space;
pub mod stamp;
pub mod state;
pub mod state_text;
pub mod takeover;
pub mod time_expression;
mod time_period;
mod time_words;
