//! Figures that a program measures and writes into a page itself, between markers, so that no one copies them by hand.

use std::collections::BTreeMap;

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

/// The current table.
pub fn read(page: &str, marker: &str) -> String {
    parts(page, marker).1
}

/// Writes `table` into `page` after the line `<!-- {marker} -->`, replacing the text up to `<!-- end -->` or the end.
pub fn write(page: &str, marker: &str, table: &str) {
    let (head, _, tail) = parts(page, marker);
    let space = if tail.is_empty() { "" } else { "\n" };
    std::fs::write(format!("{ROOT}/{page}"), format!("{head}\n{table}{space}{tail}")).unwrap();
}

/// Writes the row `name` of a table of sums, whose rows are `names`; the others stay, and the total is computed again.
pub fn note(page: &str, marker: &str, head: &str, names: &[&str], name: &str, figures: &[usize]) {
    let before = read(page, marker);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut lines: BTreeMap<String, Vec<usize>> = before
        .lines()
        .map(cells)
        .map(|cells| (cells[0].clone(), cells[1..].iter().filter_map(|cell| cell.parse().ok()).collect()))
        .collect();
    lines.insert(name.to_owned(), figures.to_vec());
    let rows: Vec<_> = names.iter().filter_map(|name| lines.get_key_value(*name)).collect();
    let sums: Vec<usize> = (0..figures.len()).map(|column| rows.iter().filter_map(|(_, row)| row.get(column)).sum()).collect();
    let row = |(name, figures): (&String, &Vec<usize>)| {
        let figures: Vec<_> = figures.iter().map(usize::to_string).collect();
        format!("| {name} | {} |\n", figures.join(" | "))
    };
    let table: String = rows.iter().copied().chain([(&"all".to_owned(), &sums)]).map(row).collect();
    write(page, marker, &format!("{head}{table}"));
}
