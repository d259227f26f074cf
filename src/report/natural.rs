//! Natural order: numbers inside names compare by value, so `app-2` comes before `app-10`.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

/// Compares two names in natural order. Names that differ only in leading zeros compare as text.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (mut rest_of_left, mut rest_of_right) = (left.chars().peekable(), right.chars().peekable());
    loop {
        let ordering = match (rest_of_left.peek(), rest_of_right.peek()) {
            (None, None) => return left.cmp(right),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) if a.is_ascii_digit() && b.is_ascii_digit() => {
                let (a, b) = (digits(&mut rest_of_left), digits(&mut rest_of_right));
                a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
            }
            _ => rest_of_left.next().cmp(&rest_of_right.next()),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

/// Takes a whole number, without its leading zeros.
fn digits(letters: &mut Peekable<Chars<'_>>) -> String {
    let mut digits = String::new();
    while let Some(digit) = letters.next_if(char::is_ascii_digit) {
        if digit != '0' || !digits.is_empty() {
            digits.push(digit);
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_compare_by_value() {
        let mut names = ["app-10", "app-2", "app", "app-02", "app-2b", "web-1", "app-1", "0", ""];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(names, ["", "0", "app", "app-1", "app-02", "app-2", "app-2b", "app-10", "web-1"]);
    }
}
