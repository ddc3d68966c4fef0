//! `ioctl`.

use alloc::vec;

use maize_abi::file::o;
use maize_abi::termios::request;
use maize_hal::Arch;
use maize_vfs::ioctl::extent;

use super::super::{Call, CallResult};
use super::open::{how, install_new};

pub(super) async fn ioctl<A: Arch>(call: Call<'_, A>) -> CallResult {
    let current = call.current;
    let (fd, number, argument) = (call.int(0), call.uint(1), call.args[2]);
    let file = call.file(0)?;
    if let request::FIOCLEX | request::FIONCLEX = number {
        let on = number == request::FIOCLEX;
        return call.k.with(|s| {
            s.descriptors_mut(current)?.set_close_on_exec(fd, on)?;
            Ok(0)
        });
    }
    if number == request::TIOCGPTPEER {
        let flags = argument as u32;
        return install_new(call, flags & o::O_CLOEXEC != 0, |vfs, env, caller| {
            vfs.open_peer(env, caller, file, how(call.isa, flags & !o::O_CREAT, 0))
        });
    }
    // What the file does not know is refused before its argument is looked at.
    call.k.with(|s| s.files.vfs.check_ioctl(file, number))?;
    let (input_len, output_len) = extent(number);
    let mut input = vec![0; input_len];
    call.k.read_user(current, argument, &mut input).await?;
    call.k.hold_writable(current, argument, output_len as u64).await?;
    let answer = call
        .wait_until(maize_abi::Errno::ERESTARTSYS, |s, _| {
            s.with_files(current, |vfs, env, caller| {
                vfs.ioctl(env, caller, file, number, (argument, &input))
            })
        })
        .await?;
    call.k.write_user(current, argument, &answer.bytes).await?;
    Ok(answer.value)
}
