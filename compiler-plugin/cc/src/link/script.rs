//! The linker's script: what has the same address everywhere, and what lies wherever there is room.

use maize_xisa_metadata::SECTION;
use maize_xisa_metadata::address::{
    FUNCTION_SLOTS, PRIVATE_TEXT, PROGRAM_DATA, REQUEST_PAGE, REQUEST_WORD, SHARED_SECTIONS,
    SLOT_SECTION, TEXT_END, TEXT_START, UNWIND_INDEX,
};

use crate::migrate::place::ZEROED;
use crate::migrate::resume;

/// The script, the same for every instruction set.
#[must_use]
pub fn text() -> String {
    let [constants, data, zeroed] = SHARED_SECTIONS;
    let resume = resume::SECTION;
    format!(
        "ENTRY(_start)
PHDRS {{
  headers PT_LOAD FLAGS(4);
  notes PT_NOTE FLAGS(4);
  slots PT_LOAD FLAGS(5);
  tables PT_LOAD FLAGS(4);
  text PT_LOAD FLAGS(5);
  private PT_LOAD FLAGS(6);
  request PT_LOAD FLAGS(6);
  constants PT_LOAD FLAGS(4);
  data PT_LOAD FLAGS(6);
  stack PT_GNU_STACK FLAGS(6);
}}
SECTIONS {{
  . = {UNWIND_INDEX:#x};
  .eh_frame_hdr : {{ __maize_unwind_index = .; *(.eh_frame_hdr) __maize_unwind_index_end = .; }} :headers
  .note.gnu.build-id : {{ __maize_build_id = .; *(.note.gnu.build-id) }} :headers :notes
  .note.maize : {{ KEEP(*(.note.maize)) }} :headers :notes
  . = {FUNCTION_SLOTS:#x};
  {SLOT_SECTION} : {{ KEEP(*({SLOT_SECTION})) }} :slots
  ASSERT(. <= {PRIVATE_TEXT:#x}, \"too many functions have their address taken\")
  . = {PRIVATE_TEXT:#x};
  .eh_frame : {{ __maize_unwind_tables = .; KEEP(*(.eh_frame)) __maize_unwind_tables_end = .; }} :tables
  .gcc_except_table : {{ *(.gcc_except_table .gcc_except_table.*) __maize_pad_tables_end = .; }} :tables
  .rodata : {{ *(.rodata .rodata.*) }} :tables
  . = ALIGN(0x10000);
  .text.program : {{ {TEXT_START} = .; KEEP(*program.o(.text .text.[!m]*)) KEEP(*program.o({resume})) {TEXT_END} = .; }} :text
  .text : {{ *(.text .text.*) }} :text
  . = ALIGN(0x10000);
  .data : {{ *(.data .data.* .got .got.* .tm_clone_table) }} :private
  .bss : {{ *(EXCLUDE_FILE(*program.o) .bss EXCLUDE_FILE(*program.o) .bss.* COMMON) }} :private
  ASSERT(. <= {REQUEST_PAGE:#x}, \"the program's code is too large\")
  . = {REQUEST_PAGE:#x};
  .maize.request (NOLOAD) : {{ {REQUEST_WORD} = .; . += 0x1000; }} :request
  . = {PROGRAM_DATA:#x};
  {constants} : {{ KEEP(*({constants})) }} :constants
  . = ALIGN(0x10000);
  {data} : {{ __maize_data_start = .; KEEP(*({data})) }} :data
  {zeroed} (NOLOAD) : {{ KEEP(*({ZEROED})) __maize_data_end = .; }} :data
  {SECTION} 0 : {{ KEEP(*({SECTION})) }}
  /DISCARD/ : {{ *(.ARM.attributes) *(.note.GNU-stack) *(.llvm_addrsig) }}
}}
"
    )
}
