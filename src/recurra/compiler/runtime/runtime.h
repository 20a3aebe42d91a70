// All of the runtime: what every kernel includes, so that one precompiled header serves all of them.
#pragma once

#include "lanes.h"
#include "products.h"
#include "tiles.h"
