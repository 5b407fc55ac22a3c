// The threads that compute, for Python, what they do beside steps, and what ends their work early.
#include <chrono>

#include "bindings.h"
#include "following_steps.h"
#include "side_work.h"
#include "team.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace realm {

void bind_team(nb::module_& module) {
  nb::class_<SideWork>(module, "SideWork")
      .def(nb::init<>())
      .def("take_most_lent_seconds",
           [](SideWork& self) { return std::chrono::duration<double>(self.take_most_lent()).count(); })
      .def("prepare_memory", &SideWork::prepare_memory, "byte_count"_a,
           nb::call_guard<nb::gil_scoped_release>());
  nb::class_<Team>(module, "Team")
      .def(
          "__init__",
          [](Team* self, int size, SideWork* side_work) {
            require(size >= 1 && size <= 1024, "a team has 1 to 1024 threads");
            new (self) Team(size, side_work);
          },
          "size"_a, "side_work"_a.none() = nb::none(), nb::keep_alive<1, 3>())
      .def_prop_ro("size", &Team::size);
  nb::class_<Interrupt>(module, "Interrupt")
      .def(nb::init<>())
      .def_prop_ro("is_set", &Interrupt::is_set)
      .def("set", &Interrupt::set)
      .def("clear", &Interrupt::clear);
}

}  // namespace realm
