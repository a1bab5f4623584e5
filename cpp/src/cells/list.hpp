// Every cell there is. A new one: its header here, its type at the end of the list.
#pragma once

#include "cells/gru.hpp"
#include "cells/gru_reset_before.hpp"
#include "cells/lstm.hpp"
#include "cells/lstm_variants.hpp"
#include "cells/simple_rnn.hpp"

namespace rekur::cells {

template <class... Cells>
struct List {
  static constexpr int size = sizeof...(Cells);
};

using All = List<SimpleRnn, Lstm, Gru, GruResetBefore, LstmPeephole, LstmCoupled, LstmPeepholeCoupled>;

}  // namespace rekur::cells
