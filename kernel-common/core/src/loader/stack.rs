//! The stack a program starts with: strings, auxiliary vector, environment, arguments.

use alloc::vec::Vec;

/// Kinds of entries of the auxiliary vector.
pub mod at {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const AT_NULL: u64 = 0;
    pub const AT_PHDR: u64 = 3;
    pub const AT_PHENT: u64 = 4;
    pub const AT_PHNUM: u64 = 5;
    pub const AT_PAGESZ: u64 = 6;
    pub const AT_BASE: u64 = 7;
    pub const AT_FLAGS: u64 = 8;
    pub const AT_ENTRY: u64 = 9;
    pub const AT_UID: u64 = 11;
    pub const AT_EUID: u64 = 12;
    pub const AT_GID: u64 = 13;
    pub const AT_EGID: u64 = 14;
    pub const AT_PLATFORM: u64 = 15;
    pub const AT_HWCAP: u64 = 16;
    pub const AT_CLKTCK: u64 = 17;
    pub const AT_SECURE: u64 = 23;
    pub const AT_RANDOM: u64 = 25;
    pub const AT_HWCAP2: u64 = 26;
    pub const AT_EXECFN: u64 = 31;
    pub const AT_MINSIGSTKSZ: u64 = 51;
}

/// What goes onto the stack.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// Arguments, without their final zeros.
    pub argv: &'a [Vec<u8>],
    /// Environment, without the final zeros.
    pub envp: &'a [Vec<u8>],
    /// Path of the program, for `AT_EXECFN`.
    pub path: &'a [u8],
    /// `AT_PLATFORM`.
    pub platform: &'a str,
    /// Bytes that `AT_RANDOM` points to.
    pub random: [u8; 16],
    /// Entries of the auxiliary vector besides those that point to the stack itself.
    pub auxv: &'a [(u64, u64)],
}

/// A stack ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The program's first stack pointer, 16-byte aligned: address of `argc`.
    pub pointer: u64,
    /// Bytes from `pointer` to the top.
    pub bytes: Vec<u8>,
    /// Where the argument strings lie, for `/proc/PID/cmdline`.
    pub arguments: (u64, u64),
    /// The auxiliary vector, for `/proc/PID/auxv`.
    pub auxv: Vec<u8>,
}

/// Bytes that strings and pointers may take in all: Linux's 128 KiB per string and a quarter of
/// the stack are both larger than what fits here.
pub const MAX_LEN: usize = 2 << 20;

/// Builds the stack that ends below `top`; `None` if it would be longer than [`MAX_LEN`].
#[must_use]
pub fn build(top: u64, contents: &Contents<'_>) -> Option<Stack> {
    let strings: usize = contents.argv.iter().chain(contents.envp).map(|s| s.len() + 1).sum();
    let pointers = 8 * (contents.argv.len() + contents.envp.len() + 3);
    let vector = 16 * (contents.auxv.len() + 4);
    let fixed = contents.path.len() + 1 + contents.platform.len() + 1 + 16 + 8;
    let needed = strings.checked_add(pointers + vector + fixed + 32)?;
    if needed > MAX_LEN {
        return None;
    }

    // Strings in ascending order, as Linux lays them out: random, platform, argv, envp, path.
    let mut text = Vec::with_capacity(strings + fixed);
    let base = (top - (strings + fixed) as u64) & !15;
    let mut put = |bytes: &[u8], zero: bool| {
        let at = base + text.len() as u64;
        text.extend_from_slice(bytes);
        if zero {
            text.push(0);
        }
        at
    };
    let random = put(&contents.random, false);
    let platform = put(contents.platform.as_bytes(), true);
    let argv: Vec<u64> = contents.argv.iter().map(|s| put(s, true)).collect();
    let envp: Vec<u64> = contents.envp.iter().map(|s| put(s, true)).collect();
    let path = put(contents.path, true);
    let arguments = (argv.first().copied().unwrap_or(path), envp.first().copied().unwrap_or(path));
    text.resize((top - base) as usize, 0);

    let mut words = Vec::with_capacity((pointers + vector) / 8);
    words.push(argv.len() as u64);
    words.extend(argv);
    words.push(0);
    words.extend(envp);
    words.push(0);
    let own = [(at::AT_RANDOM, random), (at::AT_PLATFORM, platform), (at::AT_EXECFN, path)];
    let auxv_at = words.len();
    for (kind, value) in contents.auxv.iter().copied().chain(own).chain([(at::AT_NULL, 0)]) {
        words.extend([kind, value]);
    }
    let auxv = words[auxv_at..].iter().flat_map(|word| word.to_le_bytes()).collect();
    let pointer = (base - 8 * words.len() as u64) & !15;
    let mut bytes = Vec::with_capacity((top - pointer) as usize);
    bytes.extend(words.iter().flat_map(|w| w.to_le_bytes()));
    bytes.resize((base - pointer) as usize, 0);
    bytes.extend(text);
    Some(Stack { pointer, bytes, arguments, auxv })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn pointers_lead_to_their_strings() {
        let argv = [b"prog".to_vec(), b"-x".to_vec()];
        let envp = [b"A=1".to_vec()];
        let contents = Contents {
            argv: &argv,
            envp: &envp,
            path: b"/bin/prog",
            platform: "x86_64",
            random: [9; 16],
            auxv: &[(at::AT_PAGESZ, 4096)],
        };
        let top = 0x7fff_0000;
        let stack = build(top, &contents).unwrap();
        assert_eq!(stack.pointer % 16, 0);
        assert_eq!(stack.pointer + stack.bytes.len() as u64, top);
        let word = |at: u64| {
            let at = (at - stack.pointer) as usize;
            u64::from_le_bytes(stack.bytes[at..at + 8].try_into().unwrap())
        };
        let string = |at: u64| {
            let at = (at - stack.pointer) as usize;
            stack.bytes[at..].split(|b| *b == 0).next().unwrap().to_vec()
        };
        let sp = stack.pointer;
        assert_eq!(word(sp), 2);
        assert_eq!(string(word(sp + 8)), b"prog");
        assert_eq!(string(word(sp + 16)), b"-x");
        assert_eq!(word(sp + 24), 0);
        assert_eq!(string(word(sp + 32)), b"A=1");
        assert_eq!(word(sp + 40), 0);
        assert_eq!((word(sp + 48), word(sp + 56)), (at::AT_PAGESZ, 4096));
        assert_eq!(word(sp + 64), at::AT_RANDOM);
        assert_eq!(stack.arguments.1 - stack.arguments.0, 8);
        let at = (sp + 48 - stack.pointer) as usize;
        assert_eq!(stack.auxv, stack.bytes[at..at + 5 * 16]);
        assert!(stack.auxv.ends_with(&[0; 16]));
    }

    #[test]
    fn too_much_is_refused() {
        let argv = vec![vec![b'a'; 4096]; 1024];
        let contents = Contents {
            argv: &argv,
            envp: &[],
            path: b"p",
            platform: "p",
            random: [0; 16],
            auxv: &[],
        };
        assert_eq!(build(0x7fff_0000, &contents), None);
    }
}
