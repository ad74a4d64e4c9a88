// SPDX-License-Identifier: Apache-2.0
//
// The destructors anchor the interfaces' type information in the SDK, so that dynamic_cast agrees across plugins.
#include <kubernel/scheduler/framework.h>

namespace kubernel::scheduler {

CycleData::~CycleData() = default;
Plugin::~Plugin() = default;
PreEnqueue::~PreEnqueue() = default;
QueueSort::~QueueSort() = default;
PreFilter::~PreFilter() = default;
PreFilterExtensions::~PreFilterExtensions() = default;
Filter::~Filter() = default;
PostFilter::~PostFilter() = default;
PreScore::~PreScore() = default;
Score::~Score() = default;
Reserve::~Reserve() = default;
WaitingPod::~WaitingPod() = default;
Permit::~Permit() = default;
PreBind::~PreBind() = default;
Bind::~Bind() = default;
PostBind::~PostBind() = default;
Handle::~Handle() = default;

}  // namespace kubernel::scheduler
