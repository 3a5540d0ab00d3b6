// From the clauses of a block to plain records. Internal to frontend/elaborate.
#pragma once
#include <vector>

#include "frontend/elaborate.h"
#include "frontend/elaborate/value.h"

namespace treadle::elaboration {

// A train or eval block and the expressions that its loss graph is made of.
struct TrainBlock {
  TrainSpec spec;
  const syntax::Expr* loss = nullptr;
  std::vector<const syntax::Expr*> reports;  // as spec.reports
};

// Each reads the block for one of its models. All throw UserError T04xx.
TrainBlock read_train(const syntax::ClauseBlock& block, const syntax::Expr& model,
                      const SourceRange& range, const ModuleScope& names,
                      const ElaborateOptions& options);
// Loss, reports and settings that it leaves out are those of the first of
// `trains` with its model.
TrainBlock read_eval(const syntax::ClauseBlock& block, const syntax::Expr& model,
                     const SourceRange& range, const ModuleScope& names,
                     const ElaborateOptions& options, const std::vector<TrainBlock>& trains);
GenerateSpec read_generate(const syntax::ClauseBlock& block, const syntax::Expr& model,
                           const SourceRange& range, const ModuleScope& names,
                           const ElaborateOptions& options);
TestSpec read_test(const syntax::ClauseBlock& block, const SourceRange& range,
                   const ModuleScope& names, const ElaborateOptions& options);

}  // namespace treadle::elaboration
