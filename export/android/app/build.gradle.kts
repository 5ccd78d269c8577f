plugins { id("com.android.application") }

android {
    namespace = "io.github.ssdkeras.detect"
    compileSdk = 36

    defaultConfig {
        applicationId = "io.github.ssdkeras.detect"
        minSdk = 28
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
    }

    // One library each: an app needs only one of them.
    flavorDimensions += "runtime"
    productFlavors {
        create("mediapipe") { dimension = "runtime" }
        create("litert") {
            dimension = "runtime"
            applicationIdSuffix = ".litert"
        }
    }

    // Both libraries map the file straight from the app package.
    androidResources { noCompress += "tflite" }

    // Kotlin is compiled for the same.
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

// The newest stable ones of November 2026:
// https://developer.android.com/jetpack/androidx/releases/activity and .../camera
// https://ai.google.dev/edge/litert/android and https://github.com/google-ai-edge/mediapipe/releases
// Google Play asks for native libraries made for pages of 16 KB; ../README.md says which are known.
dependencies {
    implementation("androidx.activity:activity-ktx:1.13.0")
    implementation("androidx.camera:camera-camera2:1.6.2")
    implementation("androidx.camera:camera-lifecycle:1.6.2")
    "mediapipeImplementation"("com.google.mediapipe:tasks-vision:1.0.0")
    "litertImplementation"("com.google.ai.edge.litert:litert:2.2.0")
}

val model = layout.projectDirectory.file("src/main/assets/detector.tflite").asFile
tasks.matching { it.name == "preBuild" }.configureEach {
    doFirst {
        check(model.isFile) { "Put a file made by ssd-keras export-tflite at $model." }
    }
}
