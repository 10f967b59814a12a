import { assertEquals, assertThrows } from "@std/assert";
import { parse, stringify } from "@std/csv";

Deno.test("parse() splits records and fields as RFC 4180 says", () => {
  assertEquals(parse('a,b\r\n"1,2","x""y"\r\n,\r\n'), [["a", "b"], ["1,2", 'x"y'], ["", ""]]);
});

Deno.test("parse() keeps line breaks in quotes as line feeds", () => {
  assertEquals(parse('"a\r\nb","c\nd"'), [["a\nb", "c\nd"]]);
});

Deno.test("parse() skips blank lines and a byte-order mark, not lines of spaces", () => {
  assertEquals(parse('\ufeffa\n\n""\n \n'), [["a"], [""], [" "]]);
});

Deno.test("parse() keeps spaces, and drops leading ones when told", () => {
  assertEquals(parse(" a , b "), [[" a ", " b "]]);
  assertEquals(parse(" a , b ", { trimLeadingSpace: true }), [["a ", "b "]]);
});

Deno.test("parse() skips comments at the start of a line only", () => {
  assertEquals(parse("#x\na,#b\n", { comment: "#" }), [["a", "#b"]]);
});

Deno.test("parse() takes another separator", () => {
  assertEquals(parse("a;b,c", { separator: ";" }), [["a", "b,c"]]);
});

Deno.test("parse() makes records of the first row or of columns", () => {
  assertEquals(parse("a,b\n1,2", { skipFirstRow: true }), [{ a: "1", b: "2" }]);
  assertEquals(parse("1,2", { columns: ["x", "y"] }), [{ x: "1", y: "2" }]);
  assertEquals(parse("a,b\n1,2", { skipFirstRow: true, columns: ["x", "y"] }), [{
    x: "1",
    y: "2",
  }]);
});

Deno.test("parse() rejects quotes out of place with line and column", () => {
  assertThrows(() => parse('a,b\nc,d"e'), SyntaxError, "parse error on line 2, column 4");
  assertThrows(() => parse('a,b\n"c" d,e'), SyntaxError, "parse error on line 2, column 3");
  assertThrows(() => parse('a,b\r\n1,"é\r\nr"s'), SyntaxError, "parse error on line 3, column 2");
  assertThrows(() => parse('a,b\n"c\nd'), SyntaxError, "parse error on line 3, column 2");
});

Deno.test("parse() accepts bare quotes when told", () => {
  assertEquals(parse('a"b,c', { lazyQuotes: true }), [['a"b', "c"]]);
});

Deno.test("parse() counts fields when told", () => {
  assertEquals(parse("a,b\nc"), [["a", "b"], ["c"]]);
  assertThrows(
    () => parse("a,b\n\nc", { fieldsPerRecord: 0 }),
    SyntaxError,
    "record on line 3: wrong number of fields",
  );
  assertThrows(() => parse("a,b", { fieldsPerRecord: 3 }), SyntaxError, "wrong number of fields");
  assertThrows(() => parse("a,b\n1", { skipFirstRow: true }), SyntaxError, "line 2");
});

Deno.test("parse() rejects separators that cannot separate", () => {
  assertThrows(() => parse("a", { separator: '"' }), Error, "Invalid Delimiter");
  assertThrows(() => parse("a", { separator: ",", comment: "," }), Error, "Invalid Delimiter");
});

Deno.test("stringify() quotes what needs it and ends lines with CRLF", () => {
  const rows = [{ a: 1, b: "x,y" }, { a: 'q"', b: "l\nm" }, { a: null, b: undefined }];
  assertEquals(
    stringify(rows, { columns: ["a", "b"] }),
    'a,b\r\n1,"x,y"\r\n"q""","l\nm"\r\n,\r\n',
  );
});

Deno.test("stringify() writes numbers, booleans and objects as JavaScript does", () => {
  const row = [1e21, -0.5, NaN, true, false, { a: [1] }];
  assertEquals(
    stringify([row], { headers: false }),
    '1e+21,-0.5,NaN,true,false,"{""a"":[1]}"\r\n',
  );
});

Deno.test("stringify() reads paths, and names columns", () => {
  const rows = [{ name: { first: "Ada" }, tags: ["x", "y"] }];
  const columns = [["name", "first"], { header: "second tag", prop: ["tags", 1] }];
  assertEquals(stringify(rows, { columns }), "first,second tag\r\nAda,y\r\n");
});

Deno.test("stringify() takes a separator and a byte-order mark", () => {
  assertEquals(
    stringify([["a;b", "c,d"]], { headers: false, separator: ";", bom: true }),
    '\ufeff"a;b";c,d\r\n',
  );
});

Deno.test("stringify() asks for columns when it needs them", () => {
  assertThrows(() => stringify([[1]]), TypeError, "Columns must be defined");
  assertThrows(() => stringify([{ a: 1 }], { headers: false }), TypeError, "Columns");
  assertThrows(() => stringify([[1]], { columns: ["a"] }), TypeError, "must be a number");
});

Deno.test("parse() gives back what stringify() wrote", () => {
  const rows = [["a", 'b"c', "d,e"], ["", "f\ng", " h "], ["#i", "é", "\t"]];
  assertEquals(parse(stringify(rows, { headers: false })), rows);
});
