//! Cuts a text that is longer than the model's window into overlapping windows, each of which is
//! a slice of the text that begins at a word.
//!
//! A window may end inside a word. The tokenizer takes the longest piece it knows from the front of
//! a word, so the slice has the very tokens that were counted, and the first window gives the
//! vector that the whole text gives. The word that was cut is whole in the next window.

use std::ops::Range;

/// The most windows that a text is cut into; what lies beyond them is found by keyword only.
pub const MAX_WINDOWS: usize = 64;
/// Tokens that two neighbouring windows share.
pub const OVERLAP: usize = 32;
/// The longest piece that is given to the tokenizer at once, which bounds its memory. A window is
/// no longer either.
pub const PIECE_MAX_BYTES: usize = 16 * 1024;
/// How much of a text is split into tokens. Ordinary text fills all windows with a tenth of it.
pub const READ_MAX_BYTES: usize = MAX_WINDOWS * PIECE_MAX_BYTES;

/// A token, by the bytes of the text that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// First byte.
    pub begin: usize,
    /// One past the last byte.
    pub end: usize,
    /// Whether it is the first of its word.
    pub begins_word: bool,
}

/// The number of tokens from which on nothing more can be placed, at `capacity` tokens a window.
pub fn tokens_needed(capacity: usize) -> usize {
    capacity.saturating_mul(MAX_WINDOWS)
}

/// The next piece of `text` from byte `from`: at most [`PIECE_MAX_BYTES`], cut at white space if
/// there is any, else between two characters.
pub fn piece(text: &str, from: usize) -> Range<usize> {
    let rest = text.get(from..).unwrap_or_default();
    if rest.len() <= PIECE_MAX_BYTES {
        return from..text.len();
    }
    let most = rest.floor_char_boundary(PIECE_MAX_BYTES);
    let head = rest.get(..most).unwrap_or_default();
    let cut = head.rfind(char::is_whitespace).filter(|cut| *cut > 0).unwrap_or(most);
    from..from + cut
}

/// The windows of `text`, whose tokens are `tokens`, at `capacity` tokens a window.
pub fn windows(text: &str, tokens: &[Token], capacity: usize) -> Vec<Range<usize>> {
    if tokens.len() <= capacity && text.len() <= PIECE_MAX_BYTES {
        return std::iter::once(0..text.len()).collect();
    }
    let mut windows = Vec::new();
    let mut first = 0;
    while let Some(begin) = tokens.get(first).map(|token| token.begin)
        && windows.len() < MAX_WINDOWS
    {
        let rest = tokens.get(first..).unwrap_or_default().iter().take(capacity.max(1));
        let inside = rest.take_while(|token| token.end <= begin + PIECE_MAX_BYTES);
        let ends: Vec<usize> = inside.map(|token| token.end).collect();
        let past = first + ends.len().max(1);
        windows.push(begin..ends.last().copied().unwrap_or(begin));
        if past >= tokens.len() {
            break;
        }
        first = next_first(tokens, first, past);
    }
    if windows.is_empty() {
        // Nothing but white space: the model still has an answer to it.
        windows.push(0..text.floor_char_boundary(text.len().min(PIECE_MAX_BYTES)));
    }
    windows
}

/// Where the window after `first..past` begins: the overlap back, and then back to the beginning
/// of the word, but always further on than the present one.
fn next_first(tokens: &[Token], first: usize, past: usize) -> usize {
    let wished = past.saturating_sub(OVERLAP).max(first + 1);
    let begins = |index: &usize| tokens.get(*index).is_some_and(|token| token.begins_word);
    (first + 1..=wished).rev().find(begins).unwrap_or(past)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every word is one token for each of its characters.
    fn tokens_of(text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut in_word = false;
        for (begin, c) in text.char_indices() {
            if !c.is_whitespace() {
                tokens.push(Token { begin, end: begin + c.len_utf8(), begins_word: !in_word });
            }
            in_word = !c.is_whitespace();
        }
        tokens
    }

    fn cut(text: &str, capacity: usize) -> Vec<(usize, usize)> {
        let windows = windows(text, &tokens_of(text), capacity);
        windows.into_iter().map(|window| (window.start, window.end)).collect()
    }

    #[test]
    fn a_text_that_fits_is_one_window_with_its_white_space() {
        assert_eq!(cut(" a b ", 2), [(0, 5)]);
        assert_eq!(cut("", 2), [(0, 0)]);
    }

    #[test]
    fn windows_overlap_and_begin_at_words() {
        let text = "ab ".repeat(100);
        assert_eq!(cut(&text, 100), [(0, 149), (102, 251), (204, 299)]);
    }

    #[test]
    fn at_most_sixty_four_windows_are_made() {
        let text = "word ".repeat(20_000);
        assert_eq!(cut(&text, 254).len(), MAX_WINDOWS);
    }

    #[test]
    fn endless_white_space_does_not_make_a_window_endless() {
        let text = format!("a{}b", " ".repeat(100_000));
        assert_eq!(cut(&text, 254), [(0, 1), (100_001, 100_002)]);
        let blank = " ".repeat(100_000);
        assert_eq!(cut(&blank, 254), [(0, PIECE_MAX_BYTES)]);
    }

    #[test]
    fn pieces_are_cut_at_white_space_and_never_inside_a_character() {
        let text = format!("{} {}", "a".repeat(PIECE_MAX_BYTES - 2), "b".repeat(9));
        assert_eq!(piece(&text, 0), 0..PIECE_MAX_BYTES - 2);
        let text = "é".repeat(PIECE_MAX_BYTES);
        assert_eq!(piece(&format!("x{text}"), 0), 0..PIECE_MAX_BYTES - 1);
        assert_eq!(piece("short", 0), 0..5);
        assert_eq!(piece("short", 5), 5..5);
    }

    proptest! {
        #[test]
        fn every_token_is_read_by_some_window(
            words in proptest::collection::vec("[a-zé漢]{1,60}", 0..300),
            capacity in 40_usize..300,
        ) {
            let text = words.join(" ");
            let tokens = tokens_of(&text);
            let cut = windows(&text, &tokens, capacity);
            let mut read = 0;
            for window in &cut {
                prop_assert!(text.get(window.clone()).is_some(), "cut inside a character");
                let inside: Vec<&Token> = tokens.iter().filter(|t| window.contains(&t.begin)).collect();
                if let Some(last) = inside.get(..inside.len().min(capacity)).and_then(<[_]>::last) {
                    prop_assert!(inside[0].begin <= read + 1, "a gap before {}", inside[0].begin);
                    read = read.max(last.end);
                }
            }
            if cut.len() < MAX_WINDOWS {
                prop_assert_eq!(read, text.len());
            }
        }
    }
}
