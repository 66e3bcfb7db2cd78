//! What becomes of a request, the network's part included.

use bytes::Bytes;
use http::Response;
use std::time::Duration;

/// The fate of one request as its sender sees it.
#[derive(Debug)]
pub enum Outcome {
    /// An answer arrives.
    Answer(Response<Bytes>),
    /// The connection ends without an answer; the request may have been executed.
    NoAnswer,
    /// The head and this many bytes of the body arrive, then the connection ends. The head
    /// promises the whole body.
    CutAnswer(Response<Bytes>, usize),
    /// The request has been executed; its fate is known only later.
    Late {
        /// How long it takes, on the account's clock.
        after: Duration,
        /// What happens then.
        then: Box<Outcome>,
    },
}

impl Outcome {
    /// The whole answer, if one arrives at once.
    pub fn answer(self) -> Option<Response<Bytes>> {
        match self {
            Self::Answer(response) => Some(response),
            _ => None,
        }
    }

    /// The status that the sender gets to see, however late.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answer(response) | Self::CutAnswer(response, _) => {
                Some(response.status().as_u16())
            }
            Self::NoAnswer => None,
            Self::Late { then, .. } => then.status(),
        }
    }

    pub(super) fn map(self, change: impl FnOnce(Response<Bytes>) -> Response<Bytes>) -> Self {
        match self {
            Self::Answer(response) => Self::Answer(change(response)),
            Self::CutAnswer(response, keep) => Self::CutAnswer(change(response), keep),
            Self::NoAnswer => Self::NoAnswer,
            Self::Late { after, then } => Self::Late { after, then: Box::new(then.map(change)) },
        }
    }
}
