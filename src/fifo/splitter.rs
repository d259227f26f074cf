//! Cuts FiFo's VM list into its elements while it comes in, so that a large cloud is never in memory whole.
//!
//! The list has no length of its own: it ends where the connection does. Only its closing bracket tells a whole list
//! from a cut one, which must never be read as "these are all the VMs".

use memchr::memchr2;

/// The longest element taken, in bytes. A VM with ten thousand backups has some five million.
pub const MAX_ELEMENT_BYTES: usize = 64 << 20;

/// How much of a body that is no list an error shows, in characters.
const SHOWN_CHARS: usize = 80;

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
    Ended,
}

/// Cuts a JSON array into the bytes of its elements; takes it in pieces of any size.
///
/// It knows brackets, strings and the commas between elements; what is between two commas is for the JSON parser to
/// judge. A body that is just `]` is an empty list: FiFo answers so to a user who may see no VM.
#[derive(Debug)]
pub struct Splitter {
    place: Place,
    /// How many brackets are open, that of the list among them.
    depth: usize,
    in_string: bool,
    /// An element that is not whole yet.
    buffer: Vec<u8>,
    /// How many bytes of it were looked at: one more than there are after a backslash at its end.
    looked_at: usize,
    elements: usize,
    limit_bytes: usize,
}

impl Splitter {
    /// Makes one that takes no element longer than `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        let (place, buffer) = (Place::Before, Vec::new());
        Self { place, depth: 0, in_string: false, buffer, looked_at: 0, elements: 0, limit_bytes }
    }

    /// Takes the next piece and hands every element that it completes to `each`.
    /// An error: when this cannot be, or become, a list. The splitter is of no use afterwards.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), ListError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(piece);
        let mut start = 0;
        loop {
            if self.place != Place::Within {
                let rest = buffer[start..].trim_ascii_start();
                start = buffer.len() - rest.len();
                self.place = match (rest.first(), self.place) {
                    (None, _) => break,
                    (Some(b'['), Place::Before) => Place::Within,
                    (Some(b']'), Place::Before) => Place::Ended,
                    _ => return Err(self.not_a_list(rest)),
                };
                start += 1;
                (self.depth, self.looked_at) = (1, start);
                continue;
            }
            let Some(end) = self.end_of_element(&buffer) else { break };
            self.check_length(end - start)?;
            let element = buffer[start..end].trim_ascii();
            if !element.is_empty() {
                self.elements += 1;
                each(element);
            }
            if buffer[end] == b'}' || element.is_empty() && (self.elements > 0 || buffer[end] == b',') {
                return Err(self.not_a_list(&buffer[end..]));
            }
            start = end + 1;
            self.looked_at = start;
        }
        buffer.drain(..start);
        self.looked_at = self.looked_at.saturating_sub(start);
        self.buffer = buffer;
        self.check_length(self.buffer.len())
    }

    pub fn is_whole(&self) -> bool {
        self.place == Place::Ended
    }

    /// Says that nothing more comes, and gives how many elements there were.
    /// An error: when the closing bracket has not come.
    pub fn finish(self) -> Result<usize, ListError> {
        if self.is_whole() { Ok(self.elements) } else { Err(ListError::Cut { elements: self.elements }) }
    }

    /// Finds the comma or bracket behind the element; `None` when it has not come. A bracket ends the list.
    fn end_of_element(&mut self, bytes: &[u8]) -> Option<usize> {
        let is_bracket = |byte: &u8| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']');
        let mut at = self.looked_at;
        loop {
            let found = match bytes.get(at..) {
                None => None,
                Some(rest) if self.in_string => memchr2(b'"', b'\\', rest),
                // Most of a list lies deeper than its own commas.
                Some(rest) if self.depth > 1 => rest.iter().position(is_bracket),
                Some(rest) => rest.iter().position(|byte| *byte == b',' || is_bracket(byte)),
            };
            let Some(found) = found else {
                self.looked_at = at.max(bytes.len());
                return None;
            };
            at += found + 1;
            match bytes[at - 1] {
                b'\\' => at += 1,
                b'"' => self.in_string = !self.in_string,
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

    fn check_length(&self, bytes: usize) -> Result<(), ListError> {
        let limit_bytes = self.limit_bytes;
        if bytes > limit_bytes { Err(ListError::ElementTooLong { limit_bytes }) } else { Ok(()) }
    }

    fn not_a_list(&self, rest: &[u8]) -> ListError {
        ListError::NotAList { elements: self.elements, found: printable(rest) }
    }
}

pub(super) fn printable(body: &[u8]) -> String {
    let begin = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN_CHARS)]);
    let shown = begin.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_CHARS);
    shown.collect::<String>().trim().to_owned()
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
