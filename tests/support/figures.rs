//! Figures that a program measures and writes into a page itself, between markers, so that nobody writes them by hand.

use super::stack::ROOT;

/// Writes `table` into `page` after the line `<!-- {marker} -->`, in place of what is there up to `<!-- end -->` or the end.
pub fn write(page: &str, marker: &str, table: &str) {
    const END: &str = "<!-- end -->\n";
    let place = format!("{ROOT}/{page}");
    let text = std::fs::read_to_string(&place).unwrap();
    let begin = format!("<!-- {marker} -->\n");
    let (head, tail) = text.split_once(&begin).unwrap_or_else(|| panic!("{page} has no {begin}"));
    let tail = tail.find(END).map(|end| format!("\n{}", &tail[end..])).unwrap_or_default();
    std::fs::write(place, format!("{head}{begin}\n{table}{tail}")).unwrap();
}
