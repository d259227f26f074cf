//! Cuts FiFo's VM list into its elements while it comes in, so that a large cloud never stands in memory whole.
//!
//! The list has no length of its own: it ends where the connection does. So only its closing bracket tells a whole list
//! from one that was cut, and a cut list must never be read as "these are all the VMs".

use memchr::memchr2;

/// The longest element taken, in bytes. A VM with ten thousand backups has some five million.
pub const MAX_ELEMENT_BYTES: usize = 64 << 20;

/// How much of a body that is no list an error shows, in characters.
const SHOWN_CHARS: usize = 80;

/// What is wrong with a list as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It ended before its closing bracket; also an answer without any body.
    #[error("the list was cut short after {elements} whole elements")]
    Cut {
        /// How many elements had come whole.
        elements: usize,
    },
    /// It does not begin as a JSON array does.
    #[error("expected a JSON array, found {begin:?}")]
    NotAList {
        /// Its first printable characters.
        begin: String,
    },
    /// Between two elements stands something other than one comma.
    #[error("after {elements} elements of the list, expected {expected}, found {found:?}")]
    Separator {
        /// How many elements had come whole.
        elements: usize,
        /// What should have stood there.
        expected: &'static str,
        found: char,
    },
    /// It goes on behind its closing bracket.
    #[error("unexpected data after the closing bracket of the list")]
    GoesOn,
    /// One element is longer than is taken into memory.
    #[error("an element of the list is longer than {limit_bytes} bytes")]
    ElementTooLong { limit_bytes: usize },
}

/// Where in the list the splitter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParserState {
    /// Before the opening bracket.
    Before,
    /// Behind the opening bracket: an element or the end.
    First,
    /// Behind a comma: an element.
    Next,
    /// In an element that ends with its last bracket or quotation mark.
    Nested,
    /// In a number or word, which ends where something else begins.
    Bare,
    /// Behind an element: a comma or the end.
    Behind,
    /// Behind the closing bracket.
    Ended,
}

/// Cuts a JSON array into the bytes of its elements; takes it in pieces of any size.
///
/// It knows brackets, strings and escapes, and leaves it to the JSON parser to judge what is between them. A body that
/// is just `]` is an empty list: FiFo answers so to a user who may see no VM.
#[derive(Debug)]
pub struct Splitter {
    place: ParserState,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The beginning of an element that reaches over the end of a piece.
    partial: Vec<u8>,
    elements: usize,
    limit_bytes: usize,
}

impl Splitter {
    /// Makes one that takes no element longer than `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            place: ParserState::Before,
            depth: 0,
            in_string: false,
            escaped: false,
            partial: Vec::new(),
            elements: 0,
            limit_bytes,
        }
    }

    /// Takes the next piece and hands every element that it completes to `element`.
    ///
    /// # Errors
    ///
    /// When this cannot be, or become, a list. The splitter is of no use afterwards.
    pub fn push(&mut self, piece: &[u8], mut element: impl FnMut(&[u8])) -> Result<(), ListError> {
        let mut start = 0;
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            match self.place {
                ParserState::Nested => match self.end_of_nested(&piece[at..]) {
                    None => break,
                    Some(length) => {
                        at += length;
                        self.complete(&piece[start..at], &mut element)?;
                        continue;
                    }
                },
                ParserState::Bare if !matches!(byte, b',' | b']') && !byte.is_ascii_whitespace() => {}
                ParserState::Bare => {
                    self.complete(&piece[start..at], &mut element)?;
                    continue;
                }
                _ if byte.is_ascii_whitespace() => {}
                ParserState::Before => match byte {
                    b'[' => self.place = ParserState::First,
                    b']' => self.place = ParserState::Ended,
                    _ => return Err(ListError::NotAList { begin: printable(&piece[at..]) }),
                },
                ParserState::First if byte == b']' => self.place = ParserState::Ended,
                ParserState::First | ParserState::Next => match byte {
                    b',' | b']' | b'}' | b':' => return Err(self.separator("an element", &piece[at..])),
                    b'{' | b'[' | b'"' => {
                        start = at;
                        self.place = ParserState::Nested;
                        continue;
                    }
                    _ => {
                        start = at;
                        self.place = ParserState::Bare;
                    }
                },
                ParserState::Behind => match byte {
                    b',' => self.place = ParserState::Next,
                    b']' => self.place = ParserState::Ended,
                    _ => return Err(self.separator("a comma or the end", &piece[at..])),
                },
                ParserState::Ended => return Err(ListError::GoesOn),
            }
            at += 1;
        }
        if matches!(self.place, ParserState::Nested | ParserState::Bare) {
            self.keep(&piece[start..])?;
        }
        Ok(())
    }

    /// Says whether the closing bracket has come: then the list is whole, however the connection ends.
    pub fn is_whole(&self) -> bool {
        self.place == ParserState::Ended
    }

    /// Says that nothing more comes, and gives how many elements there were.
    ///
    /// # Errors
    ///
    /// When the closing bracket has not come.
    pub fn finish(self) -> Result<usize, ListError> {
        match self.place {
            ParserState::Ended => Ok(self.elements),
            _ => Err(ListError::Cut { elements: self.elements }),
        }
    }

    /// Finds how many of `bytes` still belong to the element; `None` when all do and it goes on.
    fn end_of_nested(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if !self.in_string {
                at += 1 + bytes[at..]
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))?;
                match bytes[at - 1] {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    _ => self.depth -= 1,
                }
            } else if self.escaped {
                bytes.get(at)?;
                at += 1;
                self.escaped = false;
            } else {
                at += 1 + memchr2(b'"', b'\\', &bytes[at..])?;
                self.escaped = bytes[at - 1] == b'\\';
                self.in_string = self.escaped;
            }
            if self.depth == 0 && !self.in_string {
                return Some(at);
            }
        }
    }

    fn complete(&mut self, rest: &[u8], element: &mut impl FnMut(&[u8])) -> Result<(), ListError> {
        if self.partial.is_empty() {
            self.check_length(rest.len())?;
            element(rest);
        } else {
            self.keep(rest)?;
            element(&self.partial);
            self.partial.clear();
        }
        self.elements += 1;
        self.place = ParserState::Behind;
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), ListError> {
        self.check_length(self.partial.len() + bytes.len())?;
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn check_length(&self, length: usize) -> Result<(), ListError> {
        if length > self.limit_bytes {
            return Err(ListError::ElementTooLong { limit_bytes: self.limit_bytes });
        }
        Ok(())
    }

    fn separator(&self, expected: &'static str, found: &[u8]) -> ListError {
        let found = char::from(found.first().copied().unwrap_or_default());
        ListError::Separator { elements: self.elements, expected, found }
    }
}

/// Gives the beginning of a body as a person can read it.
pub(super) fn printable(body: &[u8]) -> String {
    let begin = &body[..body.len().min(4 * SHOWN_CHARS)];
    String::from_utf8_lossy(begin)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN_CHARS)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Splits a body that comes in the given pieces.
    fn split<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, ListError> {
        let mut splitter = Splitter::new(100);
        let mut elements = Vec::new();
        for piece in pieces {
            splitter.push(piece, |element| elements.push(String::from_utf8_lossy(element).into_owned()))?;
        }
        assert_eq!(splitter.finish()?, elements.len());
        Ok(elements)
    }

    fn whole(body: &str) -> Result<Vec<String>, ListError> {
        split([body.as_bytes()])
    }

    #[test]
    fn elements_come_as_they_were_written() {
        assert_eq!(
            whole(r#" [ {"a":"}]\"\\"} , [],"x,]",12 ,null,[[{}],"["]] "#).unwrap(),
            [r#"{"a":"}]\"\\"}"#, "[]", r#""x,]""#, "12", "null", r#"[[{}],"["]"#]
        );
        assert_eq!(whole("[]").unwrap(), [""; 0]);
    }

    #[test]
    fn a_lone_closing_bracket_is_an_empty_list() {
        assert_eq!(whole(" ]\n").unwrap(), [""; 0]);
        assert_eq!(whole("]]"), Err(ListError::GoesOn));
    }

    #[test]
    fn a_cut_list_is_not_a_list() {
        let body = r#"[{"a":"]"},[],"x"]"#;
        for end in 0..body.len() {
            assert!(matches!(whole(&body[..end]), Err(ListError::Cut { .. })), "{}", &body[..end]);
        }
        assert_eq!(whole(r#"[{},{}"#), Err(ListError::Cut { elements: 2 }));
    }

    #[test]
    fn separators_must_be_single_commas() {
        for (body, elements) in [
            ("[,{}]", 0),
            ("[{},]", 1),
            ("[{},,{}]", 1),
            ("[{}{}]", 1),
            ("[{} {}]", 1),
            ("[}", 0),
            ("[1 2]", 1),
        ] {
            let error = whole(body).unwrap_err();
            assert!(
                matches!(error, ListError::Separator { elements: e, .. } if e == elements),
                "{body}: {error}"
            );
        }
        assert_eq!(whole("[] x"), Err(ListError::GoesOn));
    }

    #[test]
    fn what_is_no_list_is_shown_in_part() {
        let html = format!("\n<html>\t<title>Sign in</title>{}", "x".repeat(100));
        let Err(ListError::NotAList { begin }) = whole(&html) else { panic!("taken for a list") };
        assert!(begin.starts_with("<html> <title>Sign in</title>xxx") && begin.len() == 80, "{begin}");
        assert!(matches!(split([&b"\xff\xfe\x00"[..]]), Err(ListError::NotAList { .. })));
    }

    #[test]
    fn an_element_that_is_too_long_is_refused_before_it_ends() {
        let long = format!("[\"{}", "x".repeat(100));
        assert_eq!(whole(&long), Err(ListError::ElementTooLong { limit_bytes: 100 }));
        let pieces = [&b"["[..], b"\"", &[b'x'; 60], &[b'x'; 60]];
        assert_eq!(split(pieces), Err(ListError::ElementTooLong { limit_bytes: 100 }));
    }

    /// Cuts a body at the given places.
    fn pieces<'a>(body: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([body.len()]);
        let mut start = 0;
        ends.map(|end| &body[std::mem::replace(&mut start, end)..end]).collect()
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_elements_are_the_same(
            elements in prop::collection::vec(r#"("([a\[\]{},]|\\\\|\\"){0,8}"|\{("a":"[}\]]")?\}|[0-9]{1,3}|\[(1|"\]")?\])"#, 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            blank in "[ \n]{0,2}",
        ) {
            let body = format!("{blank}[{blank}{}{blank}]{blank}", elements.join(&format!("{blank},{blank}")));
            prop_assert_eq!(split(pieces(body.as_bytes(), &cuts)), Ok(elements));
        }

        #[test]
        fn no_bytes_make_it_panic_and_no_cut_changes_the_verdict(
            body in prop::collection::vec(prop::sample::select(b"[]{},\"\\a1 \xff".to_vec()), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let at_once = split([body.as_slice()]);
            let in_pieces = split(pieces(&body, &cuts));
            // What an error shows of the body may be less when it comes in pieces.
            prop_assert_eq!(at_once.as_ref().ok(), in_pieces.as_ref().ok());
        }
    }
}
