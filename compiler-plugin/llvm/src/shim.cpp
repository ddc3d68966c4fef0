// What the passes need of LLVM and its C interface has no way to say. Each function is one call, or
// one loop around one call, of LLVM's own; the decisions are taken in Rust.
#include "llvm-c/Core.h"
#include "llvm/Analysis/AssumptionCache.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Analysis/ScalarEvolution.h"
#include "llvm/Analysis/ScalarEvolutionExpressions.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/ReplaceConstant.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Transforms/Utils/BasicBlockUtils.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include "llvm/Transforms/Utils/LoopUtils.h"

using namespace llvm;

extern "C" {

// Splits a block before an instruction; the rest, with the terminator, is the new block.
LLVMBasicBlockRef maize_split_block(LLVMValueRef before) {
  auto *instruction = unwrap<Instruction>(before);
  return wrap(SplitBlock(instruction->getParent(), instruction));
}

// Clones a body. `arguments` stand for the source's arguments; the clones of `asked` (instructions
// or blocks of the source) replace them in place.
void maize_clone_body(LLVMValueRef source, LLVMValueRef target, LLVMValueRef *arguments,
                      LLVMValueRef *asked, size_t count) {
  auto *from = unwrap<Function>(source);
  ValueToValueMapTy map;
  size_t index = 0;
  for (auto &argument : from->args()) map[&argument] = unwrap(arguments[index++]);
  SmallVector<ReturnInst *, 8> returns;
  auto *to = unwrap<Function>(target);
  CloneFunctionInto(to, from, map, CloneFunctionChangeType::LocalChangesOnly, returns);
  // The target takes other parameters and returns nothing: only the attributes of the function
  // itself hold.
  to->setAttributes(AttributeList::get(
      from->getContext(), AttributeList::FunctionIndex,
      AttrBuilder(from->getContext(), from->getAttributes().getFnAttrs())));
  for (size_t i = 0; i < count; i++) asked[i] = wrap((Value *)map[unwrap(asked[i])]);
}

// Gives a function's name, body, attributes and metadata to another, whose first parameters are the
// function's own.
void maize_move_body(LLVMValueRef source, LLVMValueRef target) {
  auto *from = unwrap<Function>(source), *to = unwrap<Function>(target);
  to->takeName(from);
  to->copyAttributesFrom(from);
  to->copyMetadata(from, 0);
  from->clearMetadata();
  to->splice(to->begin(), from);
  for (size_t i = 0; i < from->arg_size(); i++) {
    from->getArg(i)->replaceAllUsesWith(to->getArg(i));
    to->getArg(i)->takeName(from->getArg(i));
  }
}

// Links modules into another, each as LLVMLinkModules2 does, but without looking through all that is
// there anew for each. The number of modules that were taken; all are consumed.
size_t maize_link_modules(LLVMModuleRef target, LLVMModuleRef *sources, size_t count) {
  Linker linker(*unwrap(target));
  size_t taken = 0;
  for (size_t i = 0; i < count; i++) {
    std::unique_ptr<Module> source(unwrap(sources[i]));
    if (taken == i && !linker.linkInModule(std::move(source))) taken++;
  }
  return taken;
}

void maize_set_dso_local(LLVMValueRef global) { unwrap<GlobalValue>(global)->setDSOLocal(true); }

void maize_set_comdat_none(LLVMValueRef global) { unwrap<GlobalObject>(global)->setComdat(nullptr); }

// Keeps only the module flags with these names.
void maize_keep_module_flags(LLVMModuleRef module, const char *const *names, size_t count) {
  auto *m = unwrap(module);
  SmallVector<Module::ModuleFlagEntry, 8> flags;
  m->getModuleFlagsMetadata(flags);
  if (auto *node = m->getModuleFlagsMetadata()) node->eraseFromParent();
  for (auto &flag : flags)
    for (size_t i = 0; i < count; i++)
      if (flag.Key->getString() == names[i]) m->addModuleFlag(flag.Behavior, names[i], flag.Val);
}

// Turns constant expressions that use a global into instructions.
void maize_expand_constant_users(LLVMValueRef global) {
  convertUsersOfConstantsToInstructions({unwrap<GlobalVariable>(global)});
}

// Tells a visitor of every loop, outer ones first: its header, whether it has an inner loop, and the
// most times that its back edges are taken if that is a known number, else zero.
typedef void (*maize_loop_visitor)(void *context, LLVMBasicBlockRef header, bool innermost,
                                   bool bounded, uint64_t most, const LLVMBasicBlockRef *blocks,
                                   size_t block_count, const LLVMBasicBlockRef *latches,
                                   size_t latch_count);
void maize_visit_loops(LLVMValueRef function, maize_loop_visitor visit, void *context) {
  auto &f = *unwrap<Function>(function);
  if (f.isDeclaration()) return;
  DominatorTree tree(f);
  LoopInfo loops(tree);
  if (loops.empty()) return;
  TargetLibraryInfoImpl implementation(f.getParent()->getTargetTriple());
  TargetLibraryInfo library(implementation);
  AssumptionCache assumptions(f);
  ScalarEvolution evolution(f, library, assumptions, tree, loops);
  for (Loop *loop : loops.getLoopsInPreorder()) {
    SmallVector<LLVMBasicBlockRef, 16> blocks, latches;
    for (auto *block : loop->blocks()) blocks.push_back(wrap(block));
    SmallVector<BasicBlock *, 4> found;
    loop->getLoopLatches(found);
    for (auto *block : found) latches.push_back(wrap(block));
    bool bounded = !isa<SCEVCouldNotCompute>(evolution.getSymbolicMaxBackedgeTakenCount(loop));
    uint64_t most = 0;
    if (auto *constant = dyn_cast<SCEVConstant>(evolution.getConstantMaxBackedgeTakenCount(loop)))
      most = constant->getAPInt().getLimitedValue();
    visit(context, wrap(loop->getHeader()), loop->isInnermost(), bounded, most, blocks.data(),
          blocks.size(), latches.data(), latches.size());
  }
}

// The nearest block that runs before any of these; null if none of them is ever reached.
LLVMBasicBlockRef maize_common_dominator(const LLVMBasicBlockRef *blocks, size_t count) {
  DominatorTree tree(*unwrap(blocks[0])->getParent());
  BasicBlock *common = nullptr;
  for (size_t i = 0; i < count; i++) {
    auto *block = unwrap(blocks[i]);
    if (!tree.isReachableFromEntry(block)) continue;
    common = common ? tree.findNearestCommonDominator(common, block) : block;
  }
  return wrap(common);
}

// Marks the loop with this header, so that LLVM's unroller makes so many rounds of it one.
void maize_mark_unrolled(LLVMBasicBlockRef header, unsigned rounds) {
  auto *block = unwrap(header);
  DominatorTree tree(*block->getParent());
  LoopInfo loops(tree);
  if (Loop *loop = loops.getLoopFor(block))
    addStringMetadataToLoop(loop, "llvm.loop.unroll.count", rounds);
}

} // extern "C"
