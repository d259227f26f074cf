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
    Cut { elements: usize },
    /// It does not begin as a JSON array does, lacks an element, or goes on behind its end.
    #[error("expected a JSON array, found {found:?} after {elements} elements")]
    NotAList { elements: usize, found: String },
    #[error("an element of the list is longer than {limit_bytes} bytes")]
    ElementTooLong { limit_bytes: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Before,
    Within,
    /// Behind the closing bracket.
    Ended,
}

/// Cuts a JSON array into the bytes of its elements; takes it in pieces of any size.
///
/// It knows brackets, strings and the commas between elements, and leaves it to the JSON parser to judge what stands
/// between two commas. A body that is just `]` is an empty list: FiFo answers so to a user who may see no VM.
#[derive(Debug)]
pub struct Splitter {
    place: Place,
    /// How many brackets are open, that of the list among them.
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
            place: Place::Before,
            depth: 0,
            in_string: false,
            escaped: false,
            partial: Vec::new(),
            elements: 0,
            limit_bytes,
        }
    }

    /// Takes the next piece and hands every element that it completes to `each`.
    ///
    /// # Errors
    ///
    /// When this cannot be, or become, a list. The splitter is of no use afterwards.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), ListError> {
        let mut rest = piece;
        while let Some(&byte) = rest.first() {
            if self.place == Place::Within {
                let Some(end) = self.end_of_element(rest) else { return self.keep(rest) };
                let is_handed_over = self.complete(&rest[..end], &mut each)?;
                if rest[end] == b'}' || !is_handed_over && (self.elements > 0 || rest[end] == b',') {
                    return Err(self.not_a_list(&rest[end..]));
                }
                rest = &rest[end + 1..];
                continue;
            }
            match byte {
                byte if byte.is_ascii_whitespace() => {}
                b'[' if self.place == Place::Before => (self.place, self.depth) = (Place::Within, 1),
                b']' if self.place == Place::Before => self.place = Place::Ended,
                _ => return Err(self.not_a_list(rest)),
            }
            rest = &rest[1..];
        }
        Ok(())
    }

    /// Says whether the closing bracket has come: then the list is whole, however the connection ends.
    pub fn is_whole(&self) -> bool {
        self.place == Place::Ended
    }

    /// Says that nothing more comes, and gives how many elements there were.
    ///
    /// # Errors
    ///
    /// When the closing bracket has not come.
    pub fn finish(self) -> Result<usize, ListError> {
        if self.is_whole() { Ok(self.elements) } else { Err(ListError::Cut { elements: self.elements }) }
    }

    /// Finds the comma or bracket behind the element; `None` when it is not among these bytes. A bracket ends the list.
    fn end_of_element(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if self.escaped {
                bytes.get(at)?;
                at += 1;
                self.escaped = false;
            } else if self.in_string {
                at += 1 + memchr2(b'"', b'\\', &bytes[at..])?;
                self.escaped = bytes[at - 1] == b'\\';
                self.in_string = self.escaped;
            } else {
                let is_bracket = |byte: &u8| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']');
                let mut rest = bytes[at..].iter();
                // Most of a list lies deeper than its own commas.
                at += 1 + if self.depth > 1 {
                    rest.position(is_bracket)?
                } else {
                    rest.position(|byte| *byte == b',' || is_bracket(byte))?
                };
                match bytes[at - 1] {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b',' => return Some(at - 1),
                    _ => self.depth -= 1,
                }
                if self.depth == 0 {
                    self.place = Place::Ended;
                    return Some(at - 1);
                }
            }
        }
    }

    /// Hands over an element that ends with these bytes; `false` where there is none.
    fn complete(&mut self, rest: &[u8], each: &mut impl FnMut(&[u8])) -> Result<bool, ListError> {
        let mut whole = Vec::new();
        let mut element = rest;
        if !self.partial.is_empty() || rest.len() > self.limit_bytes {
            self.keep(rest)?;
            whole = std::mem::take(&mut self.partial);
            element = &whole;
        }
        let element = element.trim_ascii();
        let is_there = !element.is_empty();
        if is_there {
            self.elements += 1;
            each(element);
        }
        whole.clear();
        self.partial = whole;
        Ok(is_there)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), ListError> {
        if self.partial.len() + bytes.len() > self.limit_bytes {
            return Err(ListError::ElementTooLong { limit_bytes: self.limit_bytes });
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn not_a_list(&self, rest: &[u8]) -> ListError {
        ListError::NotAList { elements: self.elements, found: printable(rest) }
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
    }

    #[test]
    fn a_cut_list_is_not_a_list() {
        let body = r#"[{"a":"]"},[],"x"]"#;
        for end in 0..body.len() {
            assert!(matches!(whole(&body[..end]), Err(ListError::Cut { .. })), "{}", &body[..end]);
        }
        assert_eq!(whole(r#"[{},{}"#), Err(ListError::Cut { elements: 1 }));
    }

    #[test]
    fn what_is_no_list_is_shown_in_part() {
        let html = format!("\n<html>\t<title>Sign in</title>{}", "x".repeat(100));
        for (body, elements, found) in [
            ("[,{}]", 0, ",{}]"),
            ("[{},]", 1, "]"),
            ("[{},,{}]", 1, ",{}]"),
            ("[}", 0, "}"),
            ("[{}}", 1, "}"),
            ("[] x", 0, "x"),
            ("]]", 0, "]"),
            (&html, 0, &html.replace(['\n', '\t'], " ")[1..81]),
        ] {
            let found = found.to_owned();
            assert_eq!(whole(body), Err(ListError::NotAList { elements, found }), "{body}");
        }
        assert!(matches!(split([&b"\xff\xfe\x00"[..]]), Err(ListError::NotAList { .. })));
        assert_eq!(whole("[{} {}]").unwrap(), ["{} {}"], "one element, and no JSON");
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
