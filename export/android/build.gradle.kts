// Versions that belong together: AGP 9.4 needs Gradle 9.6 and JDK 17, and brings Kotlin by itself,
// so that no Kotlin plugin and no toolchain is named here.
// https://developer.android.com/build/releases/agp-9-4-0-release-notes
// https://developer.android.com/build/migrate-to-built-in-kotlin
plugins { id("com.android.application") version "9.4.0" apply false }
