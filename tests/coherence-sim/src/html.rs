//! The report as one HTML page with inline SVG plots and no other asset.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::report::{Report, Row};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 12.0;
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut plots: BTreeMap<(&str, &str), BTreeMap<&str, Vec<&Row>>> = BTreeMap::new();
    for row in &report.rows {
        // Of the figure only what the paper plots: requests and invalids, and the sum.
        let wanted = row.group != "figure 7" || row.name.ends_with(": all");
        if wanted {
            let lines = plots.entry((row.group, row.name.as_str())).or_default();
            lines.entry(row.policy).or_default().push(row);
        }
    }
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Page coherency</title>\
         <style>body{font:14px sans-serif;margin:2em;max-width:1400px}figure{display:inline-block;\
         margin:0 1em 1em 0}figcaption{font-weight:bold}table{border-collapse:collapse}td,th{padding:\
         2px 8px;text-align:right;border-bottom:1px solid #ddd}td:nth-child(-n+3){text-align:left}\
         text{font:11px sans-serif}</style><h1>Page coherency</h1>",
    );
    let _ = write!(
        html,
        "<p>Messages of the coherency policies in a simulated fabric, in virtual time. Host: {} {}, \
         {} cores.</p>",
        report.host.os, report.host.arch, report.host.cores
    );
    let mut group = "";
    for ((of, name), lines) in &plots {
        if *of != group {
            group = of;
            let _ = write!(html, "<h2>{}</h2>", escape(of));
        }
        let _ = write!(html, "<figure><figcaption>{}</figcaption>", escape(name));
        html.push_str(&plot(lines, *of == "scale"));
        html.push_str("</figure>");
    }
    html.push_str("<h2>All rows</h2>");
    html.push_str(&table(report));
    html
}

/// A line per policy over `x`; both axes are logarithmic for fabrics of growing size.
fn plot(lines: &BTreeMap<&str, Vec<&Row>>, logarithmic: bool) -> String {
    let scale = |value: f64| if logarithmic { value.max(0.5).ln() } else { value };
    let rows = || lines.values().flatten();
    let xs: Vec<f64> = rows().map(|row| scale(f64::from(row.x))).collect();
    let low = xs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = xs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bottom = if logarithmic { scale(0.5) } else { 0.0 };
    let top = rows().map(|row| scale(row.max)).fold(bottom, f64::max);
    let place = |row: &Row, value: f64| {
        let across = (scale(f64::from(row.x)) - low) / (high - low).max(f64::MIN_POSITIVE);
        let up = (scale(value) - bottom) / (top - bottom).max(f64::MIN_POSITIVE);
        let x = LEFT + across * (WIDTH - LEFT - 12.0);
        (x, HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP))
    };
    let mut svg = format!(
        "<svg width=\"{WIDTH}\" height=\"{}\" role=\"img\">\
         <path d=\"M{LEFT} {TOP}V{}H{WIDTH}\" fill=\"none\" stroke=\"#888\"/>",
        HEIGHT + 16.0 * lines.len() as f64,
        HEIGHT - BOTTOM
    );
    let largest = rows().map(|row| row.max).fold(0.0, f64::max);
    let _ = write!(svg, "<text x=\"2\" y=\"{}\">{largest:.1}</text>", TOP + 8.0);
    let mut ticks: Vec<&Row> = rows().copied().collect();
    ticks.sort_by_key(|row| row.x);
    ticks.dedup_by_key(|row| row.x);
    for row in ticks {
        let (x, _) = place(row, row.min);
        let y = HEIGHT - BOTTOM + 14.0;
        let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", row.x);
    }
    for (index, (policy, rows)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut path = String::new();
        for (nth, row) in rows.iter().enumerate() {
            let (x, y) = place(row, row.median);
            let _ = write!(path, "{}{x:.1} {y:.1}", if nth == 0 { 'M' } else { 'L' });
            let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let _ = write!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\"/>");
        let y = HEIGHT + 12.0 + 16.0 * index as f64;
        let _ =
            write!(svg, "<text x=\"{LEFT}\" y=\"{y}\" fill=\"{colour}\">{}</text>", escape(policy));
    }
    svg.push_str("</svg>");
    svg
}

fn table(report: &Report) -> String {
    let mut html = String::from(
        "<table><tr><th>topology<th>name<th>policy<th>x<th>n<th>min<th>median<th>p99<th>max<th>unit",
    );
    for row in &report.rows {
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}<td>{}",
            escape(&row.topology),
            escape(&row.name),
            escape(row.policy),
            row.x,
            row.n,
            row.min,
            row.median,
            row.p99,
            row.max,
            row.unit
        );
    }
    html.push_str("</table>");
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Host, Label};

    #[test]
    fn a_page_has_a_plot_per_name_and_escapes_what_it_shows() {
        let row = |x: u32| {
            let label = Label {
                topology: "a&b".into(),
                name: "read <x>: messages per miss".into(),
                unit: "messages",
                policy: "voting",
                group: "scale",
                x,
            };
            Row::new(label, &[f64::from(x)]).unwrap()
        };
        let report =
            Report { bench: "coherence", host: Host::this(), rows: vec![row(2), row(1024)] };
        let page = page(&report);
        assert_eq!(page.matches("<svg").count(), 1);
        assert!(page.contains("read &lt;x&gt;") && page.contains("a&amp;b"));
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }
}
