package io.github.ssdkeras.detect

import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val END_OF_DIRECTORY = 0x06054b50
private const val END_SIZE = 22

/**
 * The files packed behind a .tflite model as an uncompressed zip, by name. Android's own ZipFile
 * refuses a zip that does not start at the beginning of the file.
 */
fun packedFiles(content: ByteArray): Map<String, ByteArray> {
    val bytes = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN)
    fun short(place: Int) = bytes.getShort(place).toInt() and 0xffff
    val end = (content.size - END_SIZE downTo 0).firstOrNull {
        bytes.getInt(it) == END_OF_DIRECTORY
    } ?: return emptyMap()
    var entry = bytes.getInt(end + 16)
    return buildMap {
        repeat(short(end + 10)) {
            val size = bytes.getInt(entry + 24)
            val nameLength = short(entry + 28)
            val header = bytes.getInt(entry + 42)
            val start = header + 30 + short(header + 26) + short(header + 28)
            val name = content.decodeToString(entry + 46, entry + 46 + nameLength)
            put(name, content.copyOfRange(start, start + size))
            entry += 46 + nameLength + short(entry + 30) + short(entry + 32)
        }
    }
}
