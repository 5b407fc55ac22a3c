// Drafts from texts, and how much of which draft is verified, for Python.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>

#include "bindings.h"
#include "draft_plan.h"
#include "text_drafts.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace realm {
namespace {

using Ids = std::vector<int32_t>;

void check_id(long id, long least) { require(id >= least && id < INT32_MAX, "a token id is out of range"); }

// A sequence's own new tokens join its texts. Raises NativeError.
void extend(SequenceTexts& self, const nb::list& tokens) {
  const size_t known = static_cast<size_t>(self.text().size());
  require(known <= tokens.size(), "the sequence is shorter than its texts");
  Ids ids;
  for (size_t i = known; i < tokens.size(); i++) {
    const long id = PyLong_AsLong(tokens[i].ptr());
    if (PyErr_Occurred()) throw nb::python_error();
    check_id(id, 0);
    ids.push_back(static_cast<int32_t>(id));
  }
  self.text().extend(ids.data(), ids.size());
}

std::optional<std::tuple<int, int>> place(const TextMatch& found) {
  if (found.length == 0) return std::nullopt;
  return std::tuple(found.position, found.length);
}

// The same, then: how many tokens before its end stood in it before, and in the history.
std::tuple<int, int> match(SequenceTexts& self, const nb::list& tokens) {
  extend(self, tokens);
  const SequenceTexts::Found found = self.match();
  return {found.own.length, found.past.length};
}

// The draft behind that: its source, tokens and their grades.
std::optional<std::tuple<int, nb::tuple, nb::tuple>> propose(const SequenceTexts& self,
                                                             const std::vector<double>& suffix_chances,
                                                             const std::vector<double>& history_chances,
                                                             int count) {
  require(suffix_chances.size() == kDraftGrades && history_chances.size() == kDraftGrades && count > 0,
          "a draft needs chances by grade and a count");
  std::vector<double> chances = suffix_chances;
  chances.insert(chances.end(), history_chances.begin(), history_chances.end());
  const TextDraft draft = self.propose(self.match(), chances.data(), count);
  if (draft.tokens.empty()) return std::nullopt;
  return std::tuple(static_cast<int>(draft.source), nb::tuple(nb::cast(draft.tokens)),
                    nb::tuple(nb::cast(draft.grades)));
}

Ids plan(const std::vector<std::vector<double>>& survivals, const Ids& owners, const Ids& owner_rows,
         const std::vector<double>& seconds, double worth, double least_gain, double least_share) {
  require(!seconds.empty() && owners.size() == survivals.size(), "a plan needs times and owners");
  require(std::all_of(seconds.begin(), seconds.end(), [](double each) { return each > 0.0; }),
          "a step's time must be a number > 0");
  require(std::all_of(owner_rows.begin(), owner_rows.end(), [](int32_t each) { return each > 0; }),
          "an owner has a row at least");
  std::vector<DraftCandidate> candidates;
  for (size_t i = 0; i < survivals.size(); i++) {
    require(owners[i] >= 0 && (owner_rows.empty() || static_cast<size_t>(owners[i]) < owner_rows.size()),
            "a draft has no owner");
    candidates.push_back({survivals[i].data(), static_cast<int>(survivals[i].size()), owners[i]});
  }
  DraftPlan plan;
  plan.seconds = seconds.data();
  plan.most = static_cast<int>(seconds.size()) - 1;
  plan.worth = worth;
  plan.least_gain = least_gain;
  plan.least_share = least_share;
  if (!owner_rows.empty()) plan.owner_rows = owner_rows.data();
  plan.owner_count = static_cast<int>(owner_rows.size());
  Ids counts(survivals.size());
  plan_drafts(candidates, plan, counts.data());
  return counts;
}

}  // namespace

void bind_texts(nb::module_& module) {
  module.attr("MATCH_TOKENS") = kMatchTokens;
  nb::class_<TokenIndex>(module, "TokenIndex")
      .def(nb::init<>())
      .def("__len__", &TokenIndex::size)
      .def_prop_ro("tokens", &TokenIndex::tokens, nb::rv_policy::copy)
      .def(
          "extend",
          [](TokenIndex& self, const Ids& tokens) {
            for (int32_t id : tokens) check_id(id, kTextSeparator);
            self.extend(tokens.data(), tokens.size());
          },
          "tokens"_a)
      .def("truncate", &TokenIndex::truncate, "length"_a)
      .def("clear", &TokenIndex::clear)
      .def(
          "find",
          [](const TokenIndex& self, const Ids& tail) {
            for (int32_t id : tail) check_id(id, kTextSeparator);
            return place(self.find(tail.data(), static_cast<int>(tail.size())));
          },
          "tail"_a);
  nb::class_<SequenceTexts>(module, "SequenceTexts")
      .def(nb::init<int, bool, const TokenIndex*>(), "suffix_limit"_a, "copies_itself"_a, "history"_a,
           nb::keep_alive<1, 4>())
      .def("__len__", [](SequenceTexts& self) { return self.text().size(); })
      .def_prop_ro("tokens", [](SequenceTexts& self) { return self.text().index().tokens(); })
      .def(
          "truncate", [](SequenceTexts& self, int length) { self.text().truncate(length); }, "length"_a)
      .def("extend", &extend, "tokens"_a)
      .def("match", &match, "tokens"_a)
      .def("propose", &propose, "suffix_chances"_a, "history_chances"_a, "count"_a);
  module.def("plan_drafts", &plan, "survivals"_a, "owners"_a, "owner_rows"_a, "seconds"_a, "worth"_a,
             "least_gain"_a, "least_share"_a);
}

}  // namespace realm
