-- What an interpreter does: closures, coroutines, errors, patterns, sorting, numbers, collection.
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
print("fib", fib(12))

local words = {}
for word in ("the quick brown fox jumps over the lazy dog and runs away"):gmatch("%a+") do
  words[#words + 1] = word:gsub("^%l", string.upper)
end
table.sort(words, function(a, b) return #a == #b and a < b or #a < #b end)
print(table.concat(words, " "))

local function produce(n)
  return coroutine.wrap(function()
    for i = 1, n do coroutine.yield(i, i * i) end
    error({code = n})
  end)
end
local sum, next = 0, produce(8)
local ok, err = pcall(function() while true do local _, square = next(); sum = sum + square end end)
print(ok, type(err) == "table" and err.code, sum)

local function deep(n) if n == 0 then error("deep", 0) end return (deep(n - 1)) + 1 end
for depth = 1, 25, 8 do
  print(select(2, pcall(deep, depth)), select(2, xpcall(deep, function(m) return m .. depth end, depth)))
end

local Account = {}
Account.__index = Account
Account.__add = function(a, b) return setmetatable({balance = a.balance + b.balance}, Account) end
Account.__tostring = function(a) return string.format("<%08.3f|%x|%q>", a.balance, 48879, "a\n") end
print(tostring(setmetatable({balance = 1.5}, Account) + setmetatable({balance = 40}, Account)))

local kept = setmetatable({}, {__mode = "k"})
for i = 1, 300 do kept[{i}] = ("x"):rep(i % 17) end
collectgarbage()
local alive = 0
for _ in pairs(kept) do alive = alive + 1 end
print("alive", alive, math.maxinteger // 7, 7 // 0.0, 2^53 | 0, "10" + 5)

local chunk = load("local a, b = ... ; local t = {} for i = a, b do t[i - a + 1] = i * 2 end return t")
print(#chunk(3, 40), table.unpack(chunk(3, 6)))
print(pcall(load, "x ="))
print(load("x ="))
goto done
print("not reached")
::done::
print(string.pack("<i4d", 7, 0.5):byte(1, -1))
print(utf8.char(72, 228, 8364), #"häß", ("%5.1f"):format(math.pi), os.time{year=2020, month=1, day=1, hour=12} > 0)
