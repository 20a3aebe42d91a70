// What every kernel includes, in one piece, so that it is precompiled once for all of them.
#pragma once

#include "lanes.h"
#include "share.h"
#include "tiles.h"
