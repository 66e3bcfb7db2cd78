//! Why an input was not accepted: one sentence with the value and the limit, one with what to do.

/// A refused input. Nothing of it was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text is empty or only white space.
    #[error("the text is empty{}", if *.is_blank { " (only white space)" } else { "" })]
    ContentEmpty {
        /// Whether there were characters, all of them white space.
        is_blank: bool,
    },
    /// The text is longer than the configured limit.
    #[error("the text has {actual} bytes, the limit is {limit}")]
    ContentTooLarge {
        /// Bytes given.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A text has a NUL character, which SQLite and D1 would cut it at.
    #[error("{what} has a NUL character at byte {at}")]
    Nul {
        /// Where it was found: `the text`, `a tag`…
        what: &'static str,
        /// Offset in bytes.
        at: usize,
    },
    /// The text must go to a bucket and the linked account has none.
    #[error(
        "the text takes {actual} bytes in the cloud database, which holds at most {limit} bytes of it, and no R2 bucket is linked"
    )]
    NeedsBucket {
        /// Bytes of the encoded text.
        actual: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// Too many tags on one memory.
    #[error("{actual} tags, the limit is {limit}")]
    TooManyTags {
        /// Distinct tags given.
        actual: usize,
        /// Tags allowed.
        limit: usize,
    },
    /// A tag is too long.
    #[error("the tag {tag:?} has {actual} characters, the limit is {limit}")]
    TagTooLong {
        /// The start of the tag.
        tag: String,
        /// Characters given.
        actual: usize,
        /// Characters allowed.
        limit: usize,
    },
    /// The memory type is too long.
    #[error("the memory type has {actual} characters, the limit is {limit}")]
    TypeTooLong {
        /// Characters given.
        actual: usize,
        /// Characters allowed.
        limit: usize,
    },
    /// The metadata is not a JSON object.
    #[error("metadata is a JSON {actual}, it must be an object")]
    MetadataNotObject {
        /// What it is instead.
        actual: &'static str,
    },
    /// The metadata is too large.
    #[error("the metadata has {actual} bytes as JSON, the limit is {limit}")]
    MetadataTooLarge {
        /// Bytes of the compact JSON.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The metadata is nested too deeply.
    #[error("the metadata is nested {actual} levels deep, the limit is {limit}")]
    MetadataTooDeep {
        /// Levels found.
        actual: usize,
        /// Levels allowed.
        limit: usize,
    },
    /// The search query is empty.
    #[error("the query is empty")]
    QueryEmpty,
    /// The search query is too long.
    #[error("the query has {actual} bytes, the limit is {limit}")]
    QueryTooLarge {
        /// Bytes given.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A number is outside its range.
    #[error("{name} is {actual}, it must be between {min} and {max}")]
    OutOfRange {
        /// The argument's name.
        name: &'static str,
        /// The value given.
        actual: i64,
        /// Smallest value allowed.
        min: i64,
        /// Largest value allowed.
        max: i64,
    },
    /// A time expression could not be understood.
    #[error("the time {text:?} is not understood")]
    TimeUnknown {
        /// The start of the expression.
        text: String,
    },
    /// A range of time whose end lies before its beginning.
    #[error("the time {text:?} ends before it begins")]
    TimeReversed {
        /// The start of the expression.
        text: String,
    },
    /// An update that changes nothing.
    #[error("the update names nothing to change")]
    NothingToChange,
    /// A deletion without any filter.
    #[error("a deletion by filter needs a tag, a type or a time")]
    NoFilter,
    /// A condition of a deletion that says nothing.
    #[error("the {name} to delete by is empty")]
    BlankCondition {
        /// Which condition.
        name: &'static str,
    },
    /// An id or a prefix that is no hex.
    #[error("{text:?} is not an id: an id, or the start of one, is 4 to 64 hex digits")]
    BadId {
        /// The start of what was given.
        text: String,
    },
}

impl Refusal {
    /// The stable name of this refusal in the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ContentEmpty { .. } => "content_empty",
            Self::ContentTooLarge { .. } => "content_too_large",
            Self::Nul { .. } => "nul_character",
            Self::NeedsBucket { .. } => "needs_bucket",
            Self::TooManyTags { .. } => "too_many_tags",
            Self::TagTooLong { .. } => "tag_too_long",
            Self::TypeTooLong { .. } => "type_too_long",
            Self::MetadataNotObject { .. } => "metadata_not_object",
            Self::MetadataTooLarge { .. } => "metadata_too_large",
            Self::MetadataTooDeep { .. } => "metadata_too_deep",
            Self::QueryEmpty => "query_empty",
            Self::QueryTooLarge { .. } => "query_too_large",
            Self::OutOfRange { .. } => "out_of_range",
            Self::TimeUnknown { .. } => "time_unknown",
            Self::TimeReversed { .. } => "time_reversed",
            Self::NothingToChange => "nothing_to_change",
            Self::NoFilter => "no_filter",
            Self::BlankCondition { .. } => "blank_condition",
            Self::BadId { .. } => "bad_id",
        }
    }

    /// What the person can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::ContentEmpty { .. } => "give some text to remember",
            Self::ContentTooLarge { .. } => {
                "store it in parts, or raise `limits.text_bytes` in config.toml (up to 26214400)"
            }
            Self::Nul { .. } => "remove the NUL character; binary data can't be stored",
            Self::NeedsBucket { .. } => {
                "store it in parts, or create a bucket with `memtide cloud init` and link again"
            }
            Self::TooManyTags { .. } => "keep the tags you search by",
            Self::TagTooLong { .. } | Self::TypeTooLong { .. } => {
                "use a short word; longer notes belong in the text or the metadata"
            }
            Self::MetadataNotObject { .. } => "give key-value pairs, as in {\"source\": \"chat\"}",
            Self::MetadataTooLarge { .. } | Self::MetadataTooDeep { .. } => {
                "put large or nested data into the text"
            }
            Self::QueryEmpty => "give a few words to search for",
            Self::QueryTooLarge { .. } => "search with a sentence or two",
            Self::OutOfRange { .. } => "choose a value in this range",
            Self::TimeUnknown { .. } => {
                "try `yesterday`, `last week`, `3 days ago`, `in March`, `between 2026-01-01 and 2026-02-01` or a date"
            }
            Self::TimeReversed { .. } => "name the earlier time first",
            Self::NothingToChange => "give a new text, tags, a type or metadata",
            Self::NoFilter => "name the ids, or give a tag, a type, `after` or `before`",
            Self::BlankCondition { .. } => "name it, or leave it out",
            Self::BadId { .. } => "copy the id from `memtide list` or from a search",
        }
    }
}
