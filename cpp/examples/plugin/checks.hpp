// What a plug-in is held to, whatever its format.
#pragma once

#include <string>

namespace host {

// Prints what was promised and not kept, for check to count.
void expect(bool kept, const std::string& what);

// Runs all of it and prints what came of it: 0 where every promise was kept. file: the plug-in; model: one that it can run.
int check(const std::string& file, const std::string& model);

}  // namespace host
