//! Figures that a program measures and writes into a page itself, between markers, so that nobody writes them by hand.

use super::stack::ROOT;

const END: &str = "<!-- end -->\n";

/// The page before, between and after the markers.
fn parts(page: &str, marker: &str) -> (String, String, String) {
    let text = std::fs::read_to_string(format!("{ROOT}/{page}")).unwrap();
    let begin = format!("<!-- {marker} -->\n");
    let (head, tail) = text.split_once(&begin).unwrap_or_else(|| panic!("{page} has no {begin}"));
    let (table, tail) = tail.find(END).map_or((tail, ""), |end| tail.split_at(end));
    (format!("{head}{begin}"), table.to_owned(), tail.to_owned())
}

/// What is there now.
pub fn read(page: &str, marker: &str) -> String {
    parts(page, marker).1
}

/// Writes `table` into `page` after the line `<!-- {marker} -->`, in place of what is there up to `<!-- end -->` or the end.
pub fn write(page: &str, marker: &str, table: &str) {
    let (head, _, tail) = parts(page, marker);
    let space = if tail.is_empty() { "" } else { "\n" };
    std::fs::write(format!("{ROOT}/{page}"), format!("{head}\n{table}{space}{tail}")).unwrap();
}
