//! Latencies over the number of memories, as a drawing: both axes logarithmic, a line for each thing.
//!
//! It stands by itself in a document of any colour: it brings its own ground, and names no font but a kind.

use super::report::{Report, Timing};
use std::fmt::Write as _;

/// Size of the drawing.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 560.0;
/// The field of the lines; the legend stands to the right of it.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 488.0;
/// Between two lines of the legend.
const LEGEND_STEP: f64 = 24.0;
/// Colours that eyes which see few colours can tell apart, dark enough for a light ground.
const COLOURS: &[&str] = &[
    "#c0392b", "#1f5fa8", "#b7791f", "#6b3fa0", "#0e7c86", "#a83279", "#5d6d1e", "#7a4b2b",
    "#4a5568",
];

/// The colour of what the drawing is about.
const SUBJECT: &str = "#0b6e4f";

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is what the drawing is about.
    Subject,
    /// Nothing can be below it.
    Limit,
    /// One of the others.
    Other,
}

/// A thing and its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Numbers of memories with milliseconds.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub role: Role,
}

impl Series {
    /// The medians of a report, one series for each thing that was timed at numbers of memories and that `name`
    /// has a name for.
    pub fn of(report: &Report, name: impl Fn(&Timing) -> Option<String>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for timing in &report.timings {
            let (Some(memories), Some(name)) = (timing.memories, name(timing)) else { continue };
            let point = (number(memories), timing.spread.p50_ms);
            match all.iter_mut().find(|series| series.name == name) {
                Some(series) => series.points.push(point),
                None => all.push(Self { name, points: vec![point], role: Role::Other }),
            }
        }
        for series in &mut all {
            series.points.retain(|(n, ms)| *n > 0.0 && *ms > 0.0);
            series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        all.retain(|series| !series.points.is_empty());
        all
    }

    /// The same series, drawn as `role` if it has this name.
    pub fn in_role(mut self, name: &str, role: Role) -> Self {
        if self.name == name {
            self.role = role;
        }
        self
    }

    fn last_ms(&self) -> f64 {
        self.points.last().map_or(0.0, |(_, ms)| *ms)
    }
}

/// A logarithmic axis of whole decades.
#[derive(Debug, Clone, Copy)]
struct Axis {
    /// Powers of ten.
    first: i32,
    last: i32,
    /// Where they lie in the drawing.
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that has room for all `values`, without whole decades of nothing.
    fn around(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let smallest = values.clone().fold(f64::INFINITY, f64::min);
        let largest = values.fold(0.0, f64::max);
        // What lies on a decade but for rounding belongs to it.
        let (first, last) = if smallest <= largest {
            (floor(smallest.log10() + 1e-9), -floor(1e-9 - largest.log10()))
        } else {
            (0, 1)
        };
        Self { first, last: last.max(first + 1), from, to }
    }

    fn place(self, value: f64) -> f64 {
        let decades = f64::from(self.last - self.first);
        self.from + (self.to - self.from) * (value.log10() - f64::from(self.first)) / decades
    }

    fn decades(self) -> impl Iterator<Item = (f64, i32)> {
        (self.first..=self.last).map(move |power| (self.place(10_f64.powi(power)), power))
    }
}

/// The drawing, as SVG.
pub fn svg(title: &str, subtitle: &str, series: &[Series]) -> String {
    let mut series: Vec<&Series> = series.iter().collect();
    // The legend has the order in which the lines end.
    series.sort_by(|a, b| b.last_ms().total_cmp(&a.last_ms()));
    let points = || series.iter().flat_map(|one| one.points.iter());
    let x = Axis::around(points().map(|(n, _)| *n), LEFT, RIGHT);
    let y = Axis::around(points().map(|(_, ms)| *ms), BOTTOM, TOP);
    let mut lines = vec![
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" font-family="sans-serif" font-size="13" fill="{INK}">"#
        ),
        format!("<title>{}</title>", escaped(title)),
        format!(r#"<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{GROUND}"/>"#),
        text(LEFT, 34.0, r#"font-size="18" font-weight="bold""#, title),
        text(LEFT, 56.0, &format!(r#"fill="{FAINT_INK}""#), subtitle),
    ];
    lines.extend(grid(x, y));
    let mut n_others = 0;
    for (n, one) in series.iter().enumerate() {
        let stroke = Stroke::of(one.role, n_others);
        n_others += usize::from(one.role == Role::Other);
        lines.extend(drawn(n, one, &stroke, x, y));
    }
    lines.push("</svg>\n".to_owned());
    lines.join("\n")
}

const GROUND: &str = "#fdfdfb";
const INK: &str = "#22262b";
const FAINT_INK: &str = "#5b636b";
const RULE: &str = "#dcdfe1";
const FAINT_RULE: &str = "#eff0f0";

/// The rules with what they stand for, and what the axes are.
fn grid(x: Axis, y: Axis) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rule = |x1: f64, y1: f64, x2: f64, y2: f64, colour: &str| {
        lines.push(format!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#
        ));
    };
    for power in y.first..y.last {
        for step in 2..10 {
            let at = y.place(f64::from(step) * 10_f64.powi(power));
            rule(LEFT, at, RIGHT, at, FAINT_RULE);
        }
    }
    x.decades().for_each(|(at, _)| rule(at, TOP, at, BOTTOM, RULE));
    y.decades().for_each(|(at, _)| rule(LEFT, at, RIGHT, at, RULE));
    for (at, power) in x.decades() {
        let label = if power >= 6 { format!("{} M", grouped(power - 6)) } else { grouped(power) };
        lines.push(text(at, BOTTOM + 22.0, r#"text-anchor="middle""#, &label));
    }
    for (at, power) in y.decades() {
        lines.push(text(LEFT - 10.0, at + 4.5, r#"text-anchor="end""#, &duration(power)));
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    lines.push(text(middle, BOTTOM + 50.0, r#"text-anchor="middle""#, "number of memories"));
    let middle = f64::midpoint(TOP, BOTTOM);
    let turned = format!(r#"text-anchor="middle" transform="rotate(-90 22 {middle})""#);
    lines.push(text(22.0, middle, &turned, "time of a search, median"));
    lines
}

/// What a line looks like.
struct Stroke {
    colour: &'static str,
    width: f64,
    dashes: &'static str,
    font: &'static str,
}

impl Stroke {
    /// The others, of which so many came before, have each a colour of their own.
    fn of(role: Role, n_others: usize) -> Self {
        let plain = Self { colour: FAINT_INK, width: 2.0, dashes: "", font: "" };
        match role {
            Role::Subject => {
                Self { colour: SUBJECT, width: 4.0, font: r#"font-weight="bold""#, ..plain }
            }
            Role::Limit => Self { dashes: r#" stroke-dasharray="5 4""#, ..plain },
            Role::Other => {
                let colour = COLOURS.get(n_others % COLOURS.len()).copied().unwrap_or(INK);
                let is_used = n_others >= COLOURS.len();
                let dashes = if is_used { r#" stroke-dasharray="8 3""# } else { "" };
                Self { colour, dashes, ..plain }
            }
        }
    }
}

/// A line with its points and its place in the legend.
fn drawn(n: usize, series: &Series, stroke: &Stroke, x: Axis, y: Axis) -> Vec<String> {
    let Stroke { colour, width, dashes, font } = stroke;
    let look = format!(r#"stroke="{colour}" stroke-width="{width}"{dashes}"#);
    let mut way = String::new();
    let mut dots = Vec::new();
    for (memories, ms) in &series.points {
        let (x, y, radius) = (x.place(*memories), y.place(*ms), width / 2.0 + 2.5);
        // Writing to text doesn't fail.
        let _written = write!(way, "{}{x:.1},{y:.1}", if way.is_empty() { "" } else { " " });
        dots.push(format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{colour}"/>"#));
    }
    let mut lines =
        vec![format!(r#"<polyline points="{way}" fill="none" stroke-linejoin="round" {look}/>"#)];
    lines.extend(dots);
    let at = TOP + 12.0 + LEGEND_STEP * f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let from = RIGHT + 20.0;
    lines.push(format!(r#"<path d="M{from} {at}h22" {look}/>"#));
    lines.push(text(from + 30.0, at + 4.5, font, &series.name));
    lines
}

fn text(x: f64, y: f64, attributes: &str, content: &str) -> String {
    let space = if attributes.is_empty() { "" } else { " " };
    format!(r#"<text x="{x:.1}" y="{y:.1}"{space}{attributes}>{}</text>"#, escaped(content))
}

fn escaped(content: &str) -> String {
    content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A power of ten, thousands apart.
fn grouped(power: i32) -> String {
    let zeros = "0".repeat(usize::try_from(power).unwrap_or(0));
    match zeros.len() {
        n @ 3.. => format!("1{},{}", zeros.get(3..n).unwrap_or_default(), "000"),
        _ => format!("1{zeros}"),
    }
}

/// A power of ten of milliseconds.
fn duration(power: i32) -> String {
    match power {
        3.. => format!("{} s", grouped(power - 3)),
        0.. => format!("{} ms", grouped(power)),
        _ if power >= -3 => format!("{} µs", grouped(power + 3)),
        _ => format!("{} ns", grouped(power + 6)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a power of ten")]
fn floor(value: f64) -> i32 {
    value.floor() as i32
}

#[expect(clippy::cast_precision_loss, reason = "a place on a drawing")]
fn number(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn report() -> Report {
        let mut report = Report::new("search", "some-model", 1);
        for (what, n, micros) in [
            ("ours", 1000, 20),
            ("theirs & others", 10_000, 4000),
            ("ours", 10_000, 150),
            ("theirs & others", 1000, 400),
            ("ours", 100_000, 1500),
        ] {
            report.timing(what, Some(n), &[Duration::from_micros(micros)], None);
        }
        report.timing("without a number", None, &[Duration::from_micros(9)], None);
        report
    }

    fn series() -> Vec<Series> {
        let all = Series::of(&report(), |timing| Some(timing.what.clone()));
        all.into_iter().map(|one| one.in_role("ours", Role::Subject)).collect()
    }

    /// Whether every element is closed by its own name; the names of those there are.
    fn elements(xml: &str) -> Vec<String> {
        let (mut open, mut seen) = (Vec::new(), Vec::new());
        for part in xml.split('<').skip(1) {
            let (tag, content) = part.split_once('>').expect("a tag is closed");
            assert!(!content.contains('>') && tag.matches('"').count() % 2 == 0, "{part}");
            let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap().to_owned();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else {
                seen.push(name.clone());
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
        }
        assert!(open.is_empty(), "{open:?}");
        seen
    }

    #[test]
    fn a_series_has_its_points_in_order() {
        let series = series();
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].points, [(1000.0, 0.02), (10_000.0, 0.15), (100_000.0, 1.5)]);
        assert_eq!(series[1].points, [(1000.0, 0.4), (10_000.0, 4.0)]);
    }

    #[test]
    fn the_drawing_is_well_formed_and_has_a_line_for_each_series() {
        let drawing = svg("Search & others", "a \"subtitle\"", &series());
        let elements = elements(&drawing);
        let n = |name: &str| elements.iter().filter(|one| *one == name).count();
        assert_eq!((n("polyline"), n("circle"), n("svg"), n("title")), (2, 5, 1, 1));
        for part in ["number of memories", "10 µs", "10 ms", "100,000", "theirs &amp; others"] {
            assert!(drawing.contains(&format!(">{part}</text>")), "{part} in {drawing}");
        }
    }

    #[test]
    fn the_same_numbers_give_the_same_drawing() {
        insta::assert_snapshot!(svg("Search", "medians", &series()));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let drawing = svg("Search", "", &[]);
        assert!(!elements(&drawing).contains(&"polyline".to_owned()));
    }

    #[test]
    fn labels_are_those_of_their_powers() {
        let labels: Vec<String> = (-4..=5).map(duration).collect();
        let expected = [
            "100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s",
        ];
        assert_eq!(labels, expected);
        assert_eq!([2, 3, 5].map(grouped), ["100", "1,000", "100,000"]);
    }
}
