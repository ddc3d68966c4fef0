# needs: lua
# Lua: tables, strings, coroutines, garbage collection, pipes to other programs.
exec "$2/lua" - << 'END'
local function sieve(n) local s, out = {}, {} for i = 2, n do if not s[i] then out[#out + 1] = i for k = i * i, n, i do s[k] = true end end end return out end
local p = sieve(20000) print(#p, p[#p])
local t = {} for i = 1, 5000 do t[i] = (i * 7919) % 10007 end table.sort(t) print(t[1], t[2500], t[5000])
local co = coroutine.wrap(function() local a, b = 0, 1 while true do coroutine.yield(a) a, b = b, a + b end end)
for i = 1, 80 do local f = co() if i % 20 == 0 then print(i, f) end end
local parts = {} for i = 1, 3000 do parts[#parts + 1] = ("%05d"):format(i * 31 % 3001) end
local all = table.concat(parts) print(#all, all:sub(-20), (select(2, all:gsub("00", ""))))
for round = 1, 10 do local junk = {} for i = 1, 2000 do junk[i] = { i, tostring(i) } end end collectgarbage() print(collectgarbage("count") < 20000)
local f = assert(io.open("lua.tmp", "w")) for i = 1, 200 do f:write(i, "\n") end f:close()
local sum = 0 for line in io.lines("lua.tmp") do sum = sum + tonumber(line) end print(sum) os.remove("lua.tmp")
local pipe = io.popen("echo from a shell", "r") print(pipe:read("a")) print(pipe:close())
print(pcall(error, { 1 }) == false, string.rep("x", 10), math.type(2^53), 7 // 2, 7 % -3, ("%.14g"):format(math.pi))
END
