//! Tables that read well as plain text and as Markdown.

/// A Markdown table with aligned columns: `right` says which columns hold numbers.
pub fn markdown_table(header: &[String], rows: &[Vec<String>], right: &[bool]) -> String {
    let width = |column: usize| {
        let cells = std::iter::once(&header[column]).chain(rows.iter().filter_map(|r| r.get(column)));
        cells.map(|c| c.chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let is_right = |column: usize| right.get(column).copied().unwrap_or(false);
    let line = |cells: &[String]| {
        let padded = widths.iter().enumerate().map(|(i, &w)| {
            let cell = cells.get(i).map_or("", String::as_str);
            if is_right(i) { format!("{cell:>w$}") } else { format!("{cell:<w$}") }
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rules = widths
        .iter()
        .enumerate()
        .map(|(i, &w)| if is_right(i) { format!("{}:", "-".repeat(w - 1)) } else { "-".repeat(w) });
    let mut text = line(header);
    text.push_str(&format!("| {} |\n", rules.collect::<Vec<_>>().join(" | ")));
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        let cells = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let text = markdown_table(
            &cells(&["name", "GB"]),
            &[cells(&["a", "10.5"]), cells(&["long name", "1"])],
            &[false, true],
        );
        assert_eq!(
            text,
            "| name      |   GB |\n| --------- | ---: |\n| a         | 10.5 |\n| long name |    1 |\n"
        );
    }
}
