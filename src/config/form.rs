//! The forms that a text setting may have.

use std::path::Path;

/// What a text must look like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A filter in the syntax of `tracing`.
    LogFilter,
    /// `https://host…`, or plain `http` to this machine.
    Url,
    /// The name or id of a cloud resource, which becomes part of a URL.
    Name,
    /// A model of Workers AI, which becomes part of a URL too.
    CloudModel,
    /// An absolute path.
    Path,
    /// Any short text on one line.
    Word,
}

impl Form {
    /// The text in its normal form; `None` if it isn't allowed.
    pub(super) fn check(self, text: &str) -> Option<String> {
        let is_allowed = match self {
            Self::OneOf(words) => words.contains(&text),
            Self::LogFilter => {
                !text.is_empty() && tracing_subscriber::EnvFilter::try_new(text).is_ok()
            }
            Self::Url => return check_url(text),
            Self::Name => is_of(text, 64, "-_"),
            Self::CloudModel => {
                (text.starts_with("@cf/") || text.starts_with("@hf/"))
                    && is_of(text, 100, "-_./@")
                    && !text.contains("..")
            }
            Self::Path => Path::new(text).is_absolute() && !text.contains(char::is_control),
            Self::Word => !text.is_empty() && text.len() <= 100 && !text.contains(char::is_control),
        };
        is_allowed.then(|| text.to_owned())
    }

    /// What is allowed, for `it must be …`.
    pub(super) fn expected(self) -> String {
        match self {
            Self::OneOf(words) => match words {
                [first @ .., last] => format!("{} or {last}", first.join(", ")),
                [] => String::new(),
            },
            Self::LogFilter => {
                "a level (error, warn, info, debug, trace) or `target=level` pairs with commas \
                 between them"
                    .to_owned()
            }
            Self::Url => {
                "an https:// address without user, query or fragment, or plain http:// to \
                 localhost, 127.0.0.1 or [::1]"
                    .to_owned()
            }
            Self::Name => "1 to 64 letters (a to z), digits, hyphens and underscores".to_owned(),
            Self::CloudModel => "a Workers AI model such as @cf/baai/bge-base-en-v1.5".to_owned(),
            Self::Path => "an absolute path".to_owned(),
            Self::Word => "a text of at most 100 bytes on one line".to_owned(),
        }
    }
}

fn is_of(text: &str, max: usize, marks: &str) -> bool {
    (1..=max).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

/// Refuses whatever would carry a password in the address or send a token in the clear.
fn check_url(text: &str) -> Option<String> {
    if text.contains(['#', '@', '\\']) || !text.chars().all(|c| c.is_ascii_graphic()) {
        return None;
    }
    let url: http::Uri = text.parse().ok()?;
    let host = url.host().filter(|host| !host.is_empty())?;
    let is_local = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    let is_safe = match url.scheme_str()? {
        "https" => true,
        "http" => is_local,
        _ => false,
    };
    if !is_safe || url.query().is_some() {
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (text, expected) in [
            ("https://api.example.com/client/v4", Some("https://api.example.com/client/v4")),
            ("https://api.example.com/", Some("https://api.example.com")),
            ("http://127.0.0.1:8080/x", Some("http://127.0.0.1:8080/x")),
            ("http://localhost:1", Some("http://localhost:1")),
            ("http://[::1]:80", Some("http://[::1]:80")),
            ("http://api.example.com", None),
            ("http://127.0.0.1.example.com", None),
            ("http://localhost.example.com", None),
            ("https://user:secret@api.example.com", None),
            ("http://localhost@api.example.com", None),
            ("http://localhost\\@api.example.com", None),
            ("https://api.example.com/?a=1", None),
            ("https://api.example.com/#a", None),
            ("https://", None),
            ("https:///x", None),
            ("ftp://localhost", None),
            ("api.example.com", None),
            ("/client/v4", None),
            ("", None),
        ] {
            assert_eq!(Form::Url.check(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn names_can_not_leave_their_place_in_a_url() {
        for text in ["", "a/b", "..", "a b", "a?b", "é", &"a".repeat(65)] {
            assert_eq!(Form::Name.check(text), None, "{text}");
        }
        assert!(Form::Name.check(&"a".repeat(64)).is_some());
        for text in ["@cf/../x", "bge-base", "@cf/a b", "@cf/a?b"] {
            assert_eq!(Form::CloudModel.check(text), None, "{text}");
        }
    }

    #[test]
    fn a_log_filter_is_parsed() {
        assert!(Form::LogFilter.check("warn,memtide::store=debug").is_some());
        assert_eq!(Form::LogFilter.check("memtide=loud"), None);
        assert_eq!(Form::LogFilter.check(""), None);
    }
}
