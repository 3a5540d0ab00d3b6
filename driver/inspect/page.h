// One self-contained page about a program: its source beside the graph of each
// stage, what each pass changed, and the kernels with what they cost.
#pragma once
#include <string>

#include "driver/inspect/stages.h"

namespace treadle {

// HTML that loads nothing from anywhere. Throws UserError T0890, T0891 when
// Graphviz is not here or fails.
std::string inspection_page(const InspectedProgram& program, const CompiledStages& compiled);

// The data in the page, as JSON; the page's script says what it makes of it.
//   {title, files: [{path, text}], extents: {B: 32}, symbols: ["B"],
//    stages: [{name, doc, unchanged, added, changed, removed, nodes: {PATH: NODE},
//              views: {KEY: VIEW}}],
//    kernels: [{kind, what, node, backend, lines, times, flops, bytes}]}
// An unchanged stage has no nodes and views: they are those of the one before.
// Costs are expressions in the text form of dimensions.
std::string inspection_data(const InspectedProgram& program, const CompiledStages& compiled);

}  // namespace treadle
