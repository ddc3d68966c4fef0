//! A benchmark's rows as a page that needs nothing else: a plot for each unit, and the table.

use std::fmt::Write;

use super::table::number;
use super::{Report, Row, lines};

/// Width of a plot and of the labels in it, and height of a row, in pixels.
const WIDTH: f64 = 900.0;
const LABELS: f64 = 330.0;
const ROW: f64 = 26.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;\
padding:0 1em;color:#222}table{border-collapse:collapse;width:100%}th,td{padding:.2em .6em;\
text-align:right;border-bottom:1px solid #ddd}th:nth-child(-n+3),td:nth-child(-n+3){text-align:left}\
svg{width:100%;height:auto}svg text{font:13px system-ui,sans-serif;fill:#222}.grid{stroke:#e4e4e4}\
.range{stroke:#7aa6c2;stroke-width:6;stroke-linecap:round}.tail{stroke:#7aa6c2}\
.median{fill:#b3541e}\
figure{display:inline-block;width:440px;margin:0 1em 1em 0}figcaption{font-weight:bold}";

/// The page of some reports.
#[must_use]
pub fn render(reports: &[Report]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>Maize benchmarks</title><style>{STYLE}</style></head><body>\n\
         <h1>Maize benchmarks</h1>\n"
    );
    for report in reports {
        let _ = writeln!(page, "<h2>{}</h2>", escape(&report.bench));
        let alone: Vec<&Row> = report.rows.iter().filter(|row| row.series.is_none()).collect();
        for unit in units(&alone) {
            let rows: Vec<&Row> = alone.iter().copied().filter(|row| row.unit == unit).collect();
            page.push_str(&plot(&rows, unit));
        }
        page.push_str(&lines::plots(&report.rows));
        page.push_str(&table(&report.rows));
        let facts = report.host.iter().map(|(name, fact)| format!("{name}: {fact}"));
        let _ = writeln!(page, "<p>{}</p>", escape(&facts.collect::<Vec<_>>().join("; ")));
    }
    page.push_str("</body></html>\n");
    page
}

fn units<'a>(rows: &[&'a Row]) -> Vec<&'a str> {
    let mut units: Vec<&str> = Vec::new();
    for row in rows {
        if !units.contains(&row.unit.as_str()) {
            units.push(&row.unit);
        }
    }
    units
}

/// Each row a thick line from least to 99th percentile, thin to the greatest, a dot at the median.
fn plot(rows: &[&Row], unit: &str) -> String {
    let low = rows.iter().map(|row| row.min).fold(0.0, f64::min);
    let high = rows.iter().map(|row| row.max).fold(low, f64::max);
    let step = nice_step((high - low) / 6.0);
    let (low, high) = ((low / step).floor() * step, ((high / step).ceil() * step).max(low + step));
    let x = |value: f64| LABELS + (value - low) / (high - low) * (WIDTH - LABELS - 30.0);
    let bottom = ROW * rows.len() as f64 + 10.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">\n", bottom + 30.0);
    let mut tick = low;
    while tick <= high + step / 2.0 {
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{0:.1}\" y1=\"0\" x2=\"{0:.1}\" y2=\"{bottom:.1}\"/>\
             <text x=\"{0:.1}\" y=\"{1:.1}\" text-anchor=\"middle\">{2}</text>",
            x(tick),
            bottom + 18.0,
            axis_number(tick, step)
        );
        tick += step;
    }
    for (index, row) in rows.iter().enumerate() {
        let y = ROW * index as f64 + ROW / 2.0 + 5.0;
        let label = escape(&format!("{}: {}", row.topology, row.name));
        let title = escape(&format!(
            "min {}, median {}, p99 {}, max {} {unit}, {} samples",
            number(row.min),
            number(row.median),
            number(row.p99),
            number(row.max),
            row.n
        ));
        let _ = writeln!(
            svg,
            "<g><title>{title}</title><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\
             <line class=\"tail\" x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>\
             <line class=\"range\" x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>\
             <circle class=\"median\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\"/></g>",
            LABELS - 12.0,
            y + 4.0,
            x(row.min),
            x(row.max),
            x(row.min),
            x(row.p99),
            x(row.median)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text></svg>",
        LABELS - 12.0,
        bottom + 18.0,
        escape(unit)
    );
    svg
}

/// 1, 2 or 5 times a power of ten, at least as large as asked.
fn nice_step(least: f64) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|n| n * power).find(|step| *step >= least);
    step.unwrap_or(10.0 * power)
}

fn axis_number(value: f64, step: f64) -> String {
    let places = if step >= 1.0 { 0.0 } else { (-step.log10()).ceil() };
    format!("{value:.*}", places as usize)
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "<table><tr><th>topology</th><th>figure</th><th>unit</th><th>n</th><th>min</th>\
         <th>median</th><th>p99</th><th>max</th></tr>\n",
    );
    for row in rows {
        let name = match &row.series {
            Some(series) => format!("{}, {} at {}", row.name, series.policy, series.x),
            None => row.name.clone(),
        };
        let words = [&row.topology, &name, &row.unit].map(|word| escape(word));
        let figures = [row.min, row.median, row.p99, row.max].map(number);
        let cells = words.into_iter().chain([row.n.to_string()]).chain(figures);
        let cells: String = cells.map(|cell| format!("<td>{cell}</td>")).collect();
        let _ = writeln!(text, "<tr>{cells}</tr>");
    }
    text.push_str("</table>\n");
    text
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;
    use maize_hostlink::boot::Isa;

    fn report(samples: &[f64]) -> Report {
        let topology = Topology::single(Isa::X86_64);
        let rows = vec![Row::from_samples(&topology, "<boot> & more", "ms", samples).unwrap()];
        Report { bench: "boot".to_owned(), host: super::super::host::describe(&[]), rows }
    }

    #[test]
    fn names_are_escaped_and_every_row_is_plotted() {
        let page = render(&[report(&[1.0, 2.0, 30.0])]);
        assert!(page.contains("&lt;boot&gt; &amp; more") && !page.contains("<boot>"));
        assert_eq!(page.matches("<circle").count(), 1);
        assert!(!page.contains("NaN") && !page.contains("http"));
    }

    #[test]
    fn plots_of_odd_figures_have_finite_coordinates() {
        for samples in [&[0.0][..], &[-5.0, -1.0], &[1e-9], &[1e12, 3e12]] {
            let page = render(&[report(samples)]);
            assert!(!page.contains("NaN") && !page.contains("inf"), "{samples:?}");
            assert!(page.matches("class=\"grid\"").count() < 20, "{samples:?}");
        }
    }

    #[test]
    fn steps_are_round() {
        for (least, step) in [(0.7, 1.0), (1.1, 2.0), (3.0, 5.0), (6.0, 10.0), (0.0, 1.0)] {
            assert!((nice_step(least) - step).abs() < 1e-12);
        }
    }
}
