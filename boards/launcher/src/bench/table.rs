//! A benchmark's rows as a table for a terminal.

use super::{Row, lines};

const HEADINGS: [&str; 8] = ["topology", "figure", "unit", "n", "min", "median", "p99", "max"];

/// Columns that hold text, which is aligned to the left.
const TEXT_COLUMNS: usize = 3;

/// One line for each row, under a line of headings; rows of series follow, policies side by side.
#[must_use]
pub fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    if rows.iter().any(|row| row.series.is_none()) {
        text.push_str(&alone(rows));
    }
    text.push_str(&lines::tables(rows));
    text
}

fn alone(rows: &[Row]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().filter(|row| row.series.is_none()).map(cells));
    let mut widths = [0; HEADINGS.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column < TEXT_COLUMNS { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cells(row: &Row) -> [String; 8] {
    [
        row.topology.clone(),
        row.name.clone(),
        row.unit.clone(),
        row.n.to_string(),
        number(row.min),
        number(row.median),
        number(row.p99),
        number(row.max),
    ]
}

/// Four digits that matter, and no more places than that needs.
#[must_use]
pub fn number(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;
    use maize_hostlink::boot::Isa;

    #[test]
    fn columns_are_aligned() {
        let topology = Topology::single(Isa::X86_64);
        let rows = [
            Row::from_samples(&topology, "boot", "ms", &[1.0, 123.456]).unwrap(),
            Row::from_samples(&topology, "a longer name", "ms", &[12345.6]).unwrap(),
        ];
        assert_eq!(
            render(&rows),
            "topology  figure         unit  n    min  median    p99    max\n\
             x86_64    boot           ms    2  1.000   62.23  123.5  123.5\n\
             x86_64    a longer name  ms    1  12346   12346  12346  12346\n"
        );
    }
}
