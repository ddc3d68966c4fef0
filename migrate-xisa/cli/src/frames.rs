//! The frames of a saved thread, with their values and source lines.

use std::fmt::Write;

use maize_xisa_metadata::record::SIGNAL_SITE;
use maize_xisa_metadata::{LiveValue, StateError, ThreadState, ValueType};

use crate::elf::Elf;
use crate::inspect::{callee, place};

/// Source lines by a program's debug information.
pub struct Lines<'p>(Option<addr2line::Loader>, &'p Elf);

impl<'p> Lines<'p> {
    /// Reads a program's debug information, if it has any.
    #[must_use]
    pub fn of(path: &std::path::Path, elf: &'p Elf) -> Self {
        Self(addr2line::Loader::new(path).ok(), elf)
    }

    /// Where a function begins in the source.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<String> {
        let address = self.1.symbols.get(name)?.address;
        let location = self.0.as_ref()?.find_location(address).ok()??;
        Some(format!("{}:{}", location.file?, location.line?))
    }
}

/// A value of a record, as people write it.
#[must_use]
pub fn show(value: &LiveValue, record: &[u8]) -> String {
    let range = value.range();
    let bytes = record.get(range.start as usize..range.end as usize).unwrap_or_default();
    show_bytes(value.kind, bytes)
}

fn number(bytes: &[u8]) -> u128 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn show_bytes(kind: ValueType, bytes: &[u8]) -> String {
    let list = |each: ValueType| {
        let size = each.bytes().max(1) as usize;
        let parts: Vec<_> = bytes.chunks(size).map(|part| show_bytes(each, part)).collect();
        format!("<{}>", parts.join(", "))
    };
    match kind {
        ValueType::Integer(bits @ 1..=128) => {
            let unsigned = number(bytes) & (u128::MAX >> (128 - bits));
            let signed = (unsigned << (128 - bits)).cast_signed() >> (128 - bits);
            if bits == 1 { unsigned.to_string() } else { signed.to_string() }
        }
        ValueType::Float => f32::from_bits(number(bytes) as u32).to_string(),
        ValueType::Double => f64::from_bits(number(bytes) as u64).to_string(),
        ValueType::Pointer => format!("{:#x}", number(bytes)),
        ValueType::Integers { bits, .. } if bits % 8 == 0 => list(ValueType::Integer(bits)),
        ValueType::Floats(_) => list(ValueType::Float),
        ValueType::Doubles(_) => list(ValueType::Double),
        ValueType::Pointers(_) => list(ValueType::Pointer),
        ValueType::Integer(_) | ValueType::Quad | ValueType::Integers { .. } => {
            let digits: Vec<_> = bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect();
            format!("0x{}", digits.concat())
        }
    }
}

/// The frames of a thread, innermost first.
///
/// # Errors
/// [`StateError`] if the state is not of this program.
pub fn text(state: &ThreadState, elf: &Elf, lines: &Lines<'_>) -> Result<String, StateError> {
    let program = &elf.program;
    let mut out = String::new();
    let frames = state.frames_of(program)?;
    let _ = writeln!(
        out,
        "thread {} of build {}, left {}; {} frames, {} bytes of records",
        state.thread,
        state.build_id,
        state.source,
        frames.len(),
        state.records.len()
    );
    for (depth, record) in frames.iter().enumerate() {
        if record.site == SIGNAL_SITE {
            let _ =
                writeln!(out, "#{depth} a signal: what is above handles it, it met what is below");
        }
        let Some(site) = program.site(record.site) else { continue };
        let function = program.function_of(site).map_or("?", |f| f.name.as_str());
        let defined = lines.function(function).map(|line| format!(", defined at {line}"));
        let _ = writeln!(
            out,
            "#{depth} {function} at {} (site {}, calls {}){}",
            place(program, site),
            record.site,
            callee(site),
            defined.unwrap_or_default()
        );
        for value in &site.values {
            let name = if value.name.is_empty() { "-" } else { &value.name };
            let shown = show(value, record.bytes);
            let _ = writeln!(out, "    {:14} {name} = {shown}", value.kind.to_string());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_by_their_types() {
        let minus_two = [0xfe, 0xff, 0xff, 0xff];
        assert_eq!(show_bytes(ValueType::Integer(32), &minus_two), "-2");
        assert_eq!(show_bytes(ValueType::Integer(1), &[0xff]), "1");
        assert_eq!(show_bytes(ValueType::Double, &1.5_f64.to_le_bytes()), "1.5");
        assert_eq!(show_bytes(ValueType::Pointer, &0x1000_u64.to_le_bytes()), "0x1000");
        let lanes = ValueType::Integers { lanes: 2, bits: 16 };
        assert_eq!(show_bytes(lanes, &[1, 0, 0xff, 0xff]), "<1, -1>");
        assert_eq!(show_bytes(ValueType::Floats(1), &1_f32.to_le_bytes()), "<1>");
    }
}
